/** What people are told where no gateway answers: the reason, at once, and never that of another mistake. */
import { once } from 'node:events';
import { createServer, type AddressInfo, type Server, type Socket } from 'node:net';
import { createServer as createTlsServer } from 'node:tls';
import { expect } from 'chai';
import { gatewayProblem } from '../../cli/connect/gateway-problem.js';
import { openGateway } from '../../cli/connect/gateway-connection.js';
import { CERTIFICATE, CERTIFICATE_KEY } from '../support/certificate.js';
import { errorOf } from '../support/codes.js';

describe('why no gateway answers', () => {
  const servers: Server[] = [];
  const portOf = async (server: Server): Promise<number> => {
    servers.push(server.listen(0, '127.0.0.1'));
    await once(server, 'listening');
    return (server.address() as AddressInfo).port;
  };
  afterEach(() => {
    for (const server of servers.splice(0)) server.close();
  });
  // A client that has seen enough goes away without a word.
  const greet = (socket: Socket): void => {
    socket.on('error', () => undefined).end('220 mail.example.org\r\n');
  };
  const plain = () => portOf(createServer(greet));
  const secure = () => portOf(createTlsServer({ cert: CERTIFICATE, key: CERTIFICATE_KEY }, greet));
  const ca = Buffer.from(CERTIFICATE);
  const of = (port: number, more: object = {}) =>
    gatewayProblem({ host: '127.0.0.1', port, isTls: false, ca: undefined, ...more });

  it('is that nobody listens, or that something else does', async () => {
    const port = await plain();
    expect(await of(port)).to.equal('what listens there does not speak gRPC');
    expect(await of(port, { isTls: true })).to.equal('it does not speak TLS; is it http://?');
    servers.pop()?.close();
    expect(await of(port)).to.equal('nothing listens on that port');
  });

  it('is its certificate', async () => {
    const port = await secure();
    expect(await of(port, { isTls: true }))
      .to.include('unknown authority')
      .and.include('--ca-file');
    expect(await of(port, { isTls: true, ca })).to.equal('what listens there does not speak gRPC');
  });

  it('is told as soon as it is known, and not when all attempts are over', async () => {
    const port = await plain();
    servers.pop()?.close();
    const startedAt = performance.now();
    const error = await errorOf(() => openGateway({ url: `http://127.0.0.1:${port}` }, new AbortController().signal));
    expect([error.code, error.message]).to.deep.equal([
      'unavailable',
      `no gateway answers at http://127.0.0.1:${port}: nothing listens on that port; check nexus status on its machine, and the address: nexus login URL`,
    ]);
    // gRPC would have gone on for five seconds.
    expect(performance.now() - startedAt).to.be.lessThan(4000);
  });
});

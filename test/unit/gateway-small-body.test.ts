/** Bodies of JSON as the gateway takes them: strict in all that a sender could mean otherwise, and bounded. */
import { once } from 'node:events';
import { connect, type AddressInfo } from 'node:net';
import type { Server } from 'node:http';
import { expect } from 'chai';
import Koa from 'koa';
import { HttpError } from '../../gateway/http/http-error.js';
import { readJson } from '../../gateway/http/input.js';
import { smallBodyReader } from '../../gateway/http/small-body.js';
import { NexusError } from '../../shared/errors.js';

const MAX_BYTES = 4096;
const TIMEOUT_MS = 300;

describe('a body of JSON', () => {
  let server: Server;

  before(async () => {
    const app = new Koa();
    // What a client breaks off is shown otherwise.
    app.silent = true;
    const read = smallBodyReader(MAX_BYTES);
    app.use(async (context) => {
      try {
        const { value, text } = await readJson(context, read, TIMEOUT_MS);
        context.body = JSON.stringify({ value, text });
      } catch (error) {
        if (!(error instanceof NexusError)) throw error;
        context.status = error instanceof HttpError ? error.status : 400;
        context.body = { code: error.code, field: error.details['field'] };
      }
    });
    server = app.listen(0, '127.0.0.1');
    await once(server, 'listening');
  });
  after(() => {
    server.closeAllConnections();
    server.close();
  });

  const port = (): number => (server.address() as AddressInfo).port;
  const send = async (body: string | Uint8Array, headers: Record<string, string> = {}, method = 'POST') => {
    const given = { 'content-type': 'application/json', ...headers };
    const answer = await fetch(`http://127.0.0.1:${port()}/`, { method, body, headers: given });
    return { status: answer.status, answer: (await answer.json()) as Record<string, unknown> };
  };
  /** What is answered to bytes that no client of HTTP would send; `end`: and then the connection is ended. */
  const sendRaw = async (text: string, end = false): Promise<string> => {
    const socket = connect(port(), '127.0.0.1');
    const parts: Buffer[] = [];
    socket.on('data', (part: Buffer) => {
      parts.push(part);
      socket.end();
    });
    socket.write(text);
    if (end) socket.end();
    await once(socket, 'close');
    return Buffer.concat(parts).toString('latin1');
  };

  it('comes as it was written, also by other methods and under other names of JSON', async () => {
    const text = '{"a":"é€😀","event":{"__proto__":1,"x":2.50}}';
    for (const type of ['application/json', 'Application/JSON; charset="UTF-8"', 'application/merge-patch+json'])
      expect((await send(text, { 'content-type': type })).answer['text'], type).to.equal(text);
    expect((await send('{"a":1}', {}, 'DELETE')).answer).to.deep.equal({ value: { a: 1 }, text: '{"a":1}' });
    const without = await sendRaw('POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 7\r\n\r\n{"a":1}');
    expect(without).to.match(/^HTTP\/1.1 200 /);
    expect(without).to.contain('"value":{"a":1}');
    const large = `{"a":"${'x'.repeat(MAX_BYTES - 8)}"}`;
    expect((await send(large)).status).to.equal(200);
  });

  it('is refused, naming what is wrong, where it could be taken for another', async () => {
    const bytes = new Uint8Array([0x7b, 0x22, 0x61, 0x22, 0x3a, 0x22, 0xff, 0x22, 0x7d]);
    expect(await send(bytes)).to.deep.include({ status: 400, answer: { code: 'invalid_argument', field: 'body' } });
    expect((await send('{"a":1,"a":2}')).answer).to.include({ field: 'a' });
    expect((await send('{"a":1')).answer).to.include({ field: 'body' });
    expect((await send('['.repeat(400) + ']'.repeat(400))).answer).to.include({ field: 'body' });
    const form = { 'content-type': 'application/x-www-form-urlencoded' };
    expect(await send('a=1', form)).to.deep.include({ status: 415 });
    expect((await send('{}', { 'content-type': 'application/json; charset=latin1' })).status).to.equal(415);
    expect((await send('{}', { 'content-md5': 'AAAAAAAAAAAAAAAAAAAAAA==' })).answer).to.include({
      field: 'content-md5',
    });
  });

  it('is refused beyond its bounds: unread where it says how large it is, and when it comes too slowly or not whole', async () => {
    expect((await send('x'.repeat(MAX_BYTES + 1))).status).to.equal(413);
    const head = 'POST / HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n';
    // 2^32 and one: nothing of it is sent, and so nothing waited for.
    expect(await sendRaw(`${head}Content-Length: 4294967297\r\n\r\n`)).to.match(/^HTTP\/1.1 413 /);
    const chunk = `1000\r\n${'x'.repeat(4096)}\r\n`;
    expect(await sendRaw(`${head}Transfer-Encoding: chunked\r\n\r\n${chunk}${chunk}`)).to.match(/^HTTP\/1.1 413 /);
    expect(await sendRaw(`${head}Content-Length: 10\r\n\r\n{`)).to.match(/^HTTP\/1.1 408 /);
    // Nobody is there to be answered; the next request is.
    await sendRaw(`${head}Content-Length: 10\r\n\r\n{`, true);
    expect((await send('{}')).status).to.equal(200);
  });
});

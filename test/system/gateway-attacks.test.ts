/** What a hostile client sends: none of it gets further than it should, and none of it holds the gateway up. */
import { createHmac, generateKeyPairSync } from 'node:crypto';
import { readdirSync, readFileSync } from 'node:fs';
import { request, type IncomingMessage } from 'node:http';
import { gzipSync } from 'node:zlib';
import { expect } from 'chai';
import jwt from 'jsonwebtoken';
import { eventually } from '../support/cluster.js';
import { GatewayClient, PASSWORD, setDisabled } from '../support/gateway.js';
import { describeWithCluster } from '../support/system.js';

/** Short, so that the tests of slow clients are; longer than an honest client is held up on a busy machine. */
const STALL_MS = 4000;
const env = {
  NEXUS_GATEWAY_HEADER_TIMEOUT_MS: '2000',
  NEXUS_GATEWAY_BODY_TIMEOUT_MS: '2000',
  NEXUS_GATEWAY_STALL_MS: String(STALL_MS),
};

describeWithCluster('attacks on the gateway', { runtime: 'process', gateway: true, env }, (cluster) => {
  let gateway: GatewayClient;
  let alice: string;
  let mallory: string;

  before(async () => {
    gateway = await GatewayClient.of(cluster());
    alice = await gateway.register('alice');
    mallory = await gateway.register('mallory');
    await cluster().ok('node', 'create', 'n1', '--storage', '256M');
  });

  const status = async (token: string): Promise<number> => (await gateway.call('GET', '/api/fs/ls', { token })).status;
  const alive = async (): Promise<void> => {
    expect(await status(alice)).to.equal(200);
  };
  it('with tokens that are forged, changed, revoked, or of somebody who was disabled are refused', async () => {
    const [head = '', claims = '', signature = ''] = alice.split('.');
    const encoded = (value: object): string => Buffer.from(JSON.stringify(value)).toString('base64url');
    const kid = (JSON.parse(Buffer.from(head, 'base64url').toString()) as { kid: string }).kid;
    const { privateKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' });
    const payload = jwt.decode(alice) as object;
    const { keys } = (await gateway.call('GET', '/.well-known/jwks.json')).json as { keys: object[] };
    const hs = `${encoded({ alg: 'HS256', typ: 'JWT', kid })}.${claims}`;
    const forged = [
      `${encoded({ alg: 'none', typ: 'JWT', kid })}.${claims}.`,
      `${encoded({ alg: 'none', typ: 'JWT', kid })}.${claims}.${signature}`,
      jwt.sign(payload, privateKey, { algorithm: 'ES256', keyid: kid }),
      `${hs}.${createHmac('sha256', JSON.stringify(keys[0])).update(hs).digest('base64url')}`,
      `${head}.${encoded({ ...payload, sub: 'mallory' })}.${signature}`,
      `${head}.${claims}`,
      'x'.repeat(4000),
      '..',
    ];
    for (const token of forged) expect(await status(token), token.slice(0, 40)).to.equal(401);
    expect((await gateway.call('GET', '/api/fs/ls', { headers: { authorization: `Basic ${alice}` } })).status).to.equal(
      401,
    );
    const eve = await gateway.register('eve');
    expect(await status(eve)).to.equal(200);
    expect((await gateway.call('POST', '/auth/logout', { token: eve })).status).to.equal(204);
    expect(await status(eve)).to.equal(401);
    const frank = await gateway.register('frank');
    await setDisabled(cluster().socket, 'frank', true);
    expect(await status(frank)).to.equal(401);
    await setDisabled(cluster().socket, 'frank', false);
    expect(await status(frank), 'enabled again: a new login is asked for').to.equal(401);
    await alive();
  });

  it('that ask for somebody else’s registration or log in wrongly void no code of theirs', async () => {
    const username = 'grace';
    const email = `${username}@example.org`;
    const register = (origin: string, name: string) =>
      gateway.callFrom(origin, '/auth/register/init', { username: name, password: PASSWORD, email });
    expect(await register('127.0.0.1', username)).to.equal(200);
    const code = await gateway.codeFor(email);
    const wrong = String((Number(code) + 1) % 1_000_000).padStart(6, '0');
    for (const origin of ['127.0.0.2', '127.0.0.3', '127.0.0.2']) {
      expect(await register(origin, 'mallory-too'), origin).to.equal(200);
      for (let tries = 0; tries < 3; tries += 1) {
        expect(await gateway.callFrom(origin, '/auth/register/verify', { email, code: wrong })).to.equal(401);
      }
    }
    const made = await gateway.call('POST', '/auth/register/verify', { json: { email, code } });
    expect([made.status, made.json['username']]).to.deep.equal([200, username]);
  });

  it('on somebody else’s files find nothing, by id, by path, or by what only administrators may', async () => {
    const stored = await gateway.call('POST', '/api/files/upload?name=secret', { token: alice, body: 'secret' });
    const id = String(stored.json['id']);
    await gateway.call('POST', '/api/fs/upload?path=/secret', { token: alice, body: 'secret' });
    const as = (method: string, path: string, json?: unknown): Promise<number> =>
      gateway.call(method, path, { token: mallory, json }).then((answer) => answer.status);
    for (const [method, path] of [
      ['GET', `/api/files/${id}`],
      ['GET', `/api/files/${id}/download`],
      ['GET', `/api/files/${id.slice(0, 6)}/download`],
      ['DELETE', `/api/files/${id}`],
      ['GET', '/api/fs/stat?path=/secret'],
      ['GET', '/api/fs/stat?path=/../alice/secret'],
      ['GET', '/api/fs/download?path=/secret'],
      ['DELETE', '/api/fs/delete?path=/secret'],
    ] as const)
      expect(await as(method, path), `${method} ${path}`).to.equal(404);
    for (const [method, path] of [
      ['DELETE', '/api/nodes/n1'],
      ['POST', '/api/nodes/n1/stop'],
      ['POST', '/api/nodes/n1/drain'],
      ['POST', '/api/nodes/n1/cordon'],
    ] as const)
      expect(await as(method, path), `${method} ${path}`).to.equal(403);
    expect(await as('POST', '/api/nodes', { name: 'mine', storage_size: 2 ** 26 })).to.equal(403);
    expect((await gateway.call('GET', `/api/files/${id}/download`, { token: alice })).text).to.equal('secret');
  });

  it('with paths that lead out, are encoded twice, hold NUL, are too long or not normalised stay in the tree', async () => {
    const stat = (path: string) => gateway.call('GET', `/api/fs/stat?path=${path}`, { token: alice });
    expect((await stat('/../../../etc/passwd')).status).to.equal(404);
    expect((await stat('%2F..%2F..%2Fetc%2Fpasswd')).status).to.equal(404);
    expect((await stat('%252F..%252Fetc')).status).to.equal(400);
    expect((await stat('/a%00b')).status).to.equal(400);
    expect((await stat(`/${'a'.repeat(256)}`)).status).to.equal(400);
    expect((await stat('/%ff%fe')).status).to.be.oneOf([400, 404]);
    await gateway.call('POST', '/api/fs/mkdir', { token: alice, json: { path: '/caf\u0065\u0301' } });
    expect((await stat(encodeURIComponent('/caf\u00e9'))).json['name']).to.equal('caf\u00e9');
    expect((await gateway.call('GET', '/api/nodes/..%2F..%2Fsecrets', { token: alice })).status).to.equal(400);
    expect(await gateway.raw('GET /../../etc/passwd HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n')).to.match(
      /^HTTP\/1\.1 404 /,
    );
  });

  it('with 10 GB announced for a JSON body are refused before a byte of it', async () => {
    const head = `POST /auth/login/init HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: ${10 * 2 ** 30}\r\n\r\n`;
    const answer = await gateway.raw(head);
    expect(answer).to.match(/^HTTP\/1\.1 413 /);
    expect(answer).to.contain('"field":"body"');
    const chunked = 'POST /auth/login/init HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n';
    expect(await gateway.raw([chunked, `20000\r\n${'x'.repeat(0x20000)}\r\n`])).to.match(/^HTTP\/1\.1 413 /);
    await alive();
  });

  it('with compressed bodies are refused as such, and nothing of them is stored', async () => {
    const form = '--b\r\nContent-Disposition: form-data; name="file"; filename="f"\r\n\r\nhello\r\n--b--\r\n';
    const send = (path: string, type: string, plain: string, encoding: string) =>
      gateway.call('POST', path, {
        token: alice,
        body: encoding === 'identity' ? plain : new Uint8Array(gzipSync(plain)),
        headers: { 'content-type': type, 'content-encoding': encoding },
      });
    for (const [path, type, plain] of [
      ['/api/fs/mkdir', 'application/json', '{"path":"/squeezed"}'],
      ['/api/fs/upload?path=/squeezed', 'application/octet-stream', 'hello'],
      ['/api/files/upload', 'multipart/form-data; boundary=b', form],
    ] as const) {
      for (const encoding of ['gzip', 'GZIP', 'br', 'identity, gzip']) {
        const answer = await send(path, type, plain, encoding);
        expect([answer.status, answer.json['details']], `${path} ${encoding}`).to.deep.equal([
          415,
          { field: 'content-encoding', problem: 'must be identity: send the body without compressing it' },
        ]);
        expect(answer.headers.get('accept-encoding')).to.equal('identity');
      }
      expect((await gateway.call('GET', '/api/fs/stat?path=/squeezed', { token: alice })).status).to.equal(404);
      expect((await send(path, type, plain, 'identity')).status, `${path} identity`).to.equal(200);
      await gateway.call('DELETE', '/api/fs/delete?path=/squeezed', { token: alice });
    }
  });

  it('with a broken multipart body are refused alone: the gateway and what else it does go on', async () => {
    const pid = async (): Promise<number> => (await cluster().json<{ gateway: { pid: number } }>('status')).gateway.pid;
    const before = await pid();
    const part = (disposition: string, content: string): string =>
      `--b\r\nContent-Disposition: form-data; ${disposition}\r\n\r\n${content}`;
    const file = part('name="file"; filename="f"', 'hello');
    const field = part('name="path"', '/p');
    for (const body of [
      file,
      `${file}\r\n${file}\r\n--b--\r\n`,
      `${field}\r\n${file}\r\n${field}\r\n--b--\r\n`,
      `${part('name="path"', 'x'.repeat(20_000))}\r\n${file}\r\n--b--\r\n`,
    ]) {
      const answer = await gateway.call('POST', '/api/fs/upload', {
        token: alice,
        body,
        headers: { 'content-type': 'multipart/form-data; boundary=b' },
      });
      expect([400, 413], answer.text).to.include(answer.status);
    }
    expect(await pid()).to.equal(before);
    await alive();
  });

  it('with a multipart of 100,000 parts are refused after a few of them', async () => {
    const part = (at: number): string => `--b\r\nContent-Disposition: form-data; name="f${at}"\r\n\r\nx\r\n`;
    const body = `${Array.from({ length: 100_000 }, (_, at) => part(at)).join('')}--b--\r\n`;
    const { status: code, json } = await new Promise<{ status: number; json: Record<string, unknown> }>(
      (resolve, reject) => {
        const sending = request(new URL('/api/fs/upload', gateway.url), {
          method: 'POST',
          headers: { authorization: `Bearer ${alice}`, 'content-type': 'multipart/form-data; boundary=b' },
        });
        sending.once('response', (response) => {
          let text = '';
          response.on('data', (data: Buffer) => (text += data.toString()));
          response.once('end', () => {
            resolve({ status: response.statusCode ?? 0, json: JSON.parse(text) as Record<string, unknown> });
          });
        });
        // The gateway stops reading; that it is cut off while sending is part of the refusal.
        sending.on('error', (error) => {
          setTimeout(reject, 2000, error);
        });
        sending.end(body);
      },
    );
    expect([code, json['error']]).to.deep.equal([
      400,
      'body: has too many parts: one file and a few fields are allowed',
    ]);
    await alive();
  });

  it('that send headers or bodies in a trickle, or stop in the middle, are let go', async () => {
    expect(await gateway.raw('GET /healthz HTTP/1.1\r\nHost: x\r\nX-Slow: ', 5000)).to.match(/^HTTP\/1\.1 408 |^$/);
    const json =
      'POST /auth/login/init HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 50\r\n\r\n{';
    expect(await gateway.raw(json)).to.match(/^HTTP\/1\.1 408 /);
    const upload = `POST /api/fs/upload?path=/slow HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer ${alice}\r\nContent-Length: 500000\r\n\r\nx`;
    expect(await gateway.raw(upload)).to.match(/^HTTP\/1\.1 408 /);
    const { json: quota } = await gateway.call('GET', '/api/fs/quota', { token: alice });
    expect(quota['reserved']).to.equal(0);
    await alive();
  });

  it('that go away in the middle of an upload leave nothing of it', async () => {
    const upload = `POST /api/fs/upload?path=/gone HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer ${alice}\r\nContent-Length: 50000000\r\n\r\n`;
    await gateway.raw([upload, 'x'.repeat(11_000_000)], 300);
    expect((await gateway.call('GET', '/api/fs/stat?path=/gone', { token: alice })).status).to.equal(404);
    await eventually(
      () => gateway.call('GET', '/api/fs/quota', { token: alice }),
      ({ json }) => json['reserved'] === 0,
    );
  });

  it('with many large bodies of one user at once are refused before they are read, and others’ are not', async () => {
    const hoarder = await gateway.register('hoarder');
    const begin = (token: string): string =>
      `POST /api/lambda/run HTTP/1.1\r\nHost: x\r\nConnection: close\r\nAuthorization: Bearer ${token}\r\n` +
      'Content-Type: application/json\r\nContent-Length: 1900000\r\n\r\n{';
    const answers = Promise.all(Array.from({ length: 60 }, () => gateway.raw(begin(hoarder), 60_000)));
    const others = gateway.raw(begin(alice), 60_000);
    const statuses = (await answers).map((answer) => answer.slice(9, 12));
    expect(statuses.filter((status) => status !== '408' && status !== '429')).to.deep.equal([]);
    expect(statuses.filter((status) => status === '429').length).to.be.greaterThan(0);
    expect((await answers).find((answer) => answer.includes(' 429 '))).to.match(/retry-after: 1/i);
    expect((await others).slice(9, 12), 'it came too slowly, but was waited for').to.equal('408');
    // What was held is free again.
    expect((await gateway.raw(begin(hoarder), 60_000)).slice(9, 12)).to.equal('408');
  });

  it('that take nothing of a download, or of many answers, are let go, and hold little memory meanwhile', async () => {
    const size = 60 * 2 ** 20;
    const stored = await gateway.call('POST', '/api/files/upload?name=big', { token: alice, body: Buffer.alloc(size) });
    const path = `/api/files/${String(stored.json['id'])}/download`;
    const get = (where: string): string => `GET ${where} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer ${alice}\r\n\r\n`;
    const { gateway: found } = await cluster().json<{ gateway: { pid: number } }>('status');
    const residentMb = (): number =>
      Number(/^VmRSS:\s+(\d+)/m.exec(readFileSync(`/proc/${found.pid}/status`, 'utf8'))?.[1]) / 1024;
    const open = (): number => readdirSync(`/proc/${found.pid}/fd`).length;
    const before = { residentMb: residentMb(), open: open() };
    const readers = [...Array<string>(6).fill(get(path)), get('/openapi.json').repeat(500)].map((request) =>
      gateway.deaf(request),
    );
    await Promise.all(readers.map(({ connected }) => connected));
    await eventually(open, (now) => now >= before.open + readers.length);
    let most = 0;
    // The server’s end is what counts: a client that does not read is not told either.
    await eventually(
      () => {
        most = Math.max(most, residentMb());
        return open();
      },
      (now) => now <= before.open && most > 0,
      60_000,
    );
    for (const { socket } of readers) socket.destroy();
    process.stdout.write(`      resident ${before.residentMb.toFixed(0)} -> at most ${most.toFixed(0)} MB\n`);
    expect(most - before.residentMb).to.be.lessThan(400);
    await alive();
  });

  it('let a client that takes a download slowly, but steadily, have all of it', async () => {
    const mebibytes = 20;
    const size = mebibytes * 2 ** 20;
    const stored = await gateway.call('POST', '/api/files/upload?name=slow', {
      token: alice,
      body: Buffer.alloc(size),
    });
    const url = new URL(`/api/files/${String(stored.json['id'])}/download`, gateway.url);
    const incoming = await new Promise<IncomingMessage>((resolve, reject) => {
      const outgoing = request(url, { headers: { authorization: `Bearer ${alice}` } }, resolve);
      outgoing.once('error', reject).end();
    });
    let taken = 0;
    // Three times as long as a stall may last in all, and never as long at once.
    const pauseMs = (3 * STALL_MS) / mebibytes;
    for await (const piece of incoming as AsyncIterable<Buffer>) {
      const before = Math.floor(taken / 2 ** 20);
      taken += piece.length;
      if (Math.floor(taken / 2 ** 20) > before) await new Promise((resolve) => setTimeout(resolve, pauseMs));
    }
    expect([taken, incoming.complete]).to.deep.equal([size, true]);
  });

  it('with header lines that forge, smuggle or overflow are refused', async () => {
    expect(
      await gateway.raw('GET /healthz HTTP/1.1\r\nHost: x\r\nX-Request-Id: a\x01b\r\nConnection: close\r\n\r\n'),
    ).to.match(/^HTTP\/1\.1 400 /);
    const answer = await gateway.raw(
      'GET /healthz HTTP/1.1\r\nHost: x\r\nX-Request-Id: two words\r\nConnection: close\r\n\r\n',
    );
    expect(answer).to.match(/^X-Request-Id: [0-9a-f-]{36}\r$/m);
    expect(await gateway.raw(`GET /healthz HTTP/1.1\r\nHost: x\r\nX-Long: ${'x'.repeat(20_000)}\r\n\r\n`)).to.match(
      /^HTTP\/1\.1 431 /,
    );
    const both =
      'POST /auth/login/init HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n';
    expect(await gateway.raw(both)).to.match(/^HTTP\/1\.1 400 /);
    await alive();
  });

  it('do not reach root: the gateway is nobody', async () => {
    const { gateway: found } = await cluster().json<{ gateway: { pid: number } }>('status');
    const text = readFileSync(`/proc/${found.pid}/status`, 'utf8');
    expect(/^Uid:\s+(\d+)/m.exec(text)?.[1]).not.to.equal('0');
    expect(/^CapEff:\s+(\S+)/m.exec(text)?.[1]).to.equal('0'.repeat(16));
  });
});

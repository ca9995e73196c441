/** Bytes through the gateway to real agents: both ways of an upload, ranges, names, and what is refused. */
import { createHash, randomBytes } from 'node:crypto';
import { expect } from 'chai';
import { GatewayClient, type Body } from '../support/gateway.js';
import { describeWithCluster } from '../support/system.js';

describeWithCluster('files through the gateway', { runtime: 'process', gateway: true }, (cluster) => {
  let gateway: GatewayClient;
  let token: string;

  before(async () => {
    gateway = await GatewayClient.of(cluster());
    token = await gateway.register('alice');
    await cluster().ok('node', 'create', 'n1', '--storage', '512M');
  });

  type Part = readonly [string, string | Blob];
  const form = (...parts: readonly Part[]): FormData => {
    const data = new FormData();
    for (const [name, value] of parts) {
      if (value instanceof Blob) data.append(name, value, 'x');
      else data.append(name, value);
    }
    return data;
  };
  const bytesOf = async (path: string, headers: Record<string, string> = {}): Promise<[number, Buffer, Headers]> => {
    const response = await fetch(new URL(path, gateway.url), {
      headers: { authorization: `Bearer ${token}`, ...headers },
    });
    return [response.status, Buffer.from(await response.arrayBuffer()), response.headers];
  };
  const upload = (body: Body, name = 'a.bin') =>
    gateway.call('POST', `/api/files/upload?name=${encodeURIComponent(name)}`, { token, body });

  it('come back as they were, whole and in ranges', async () => {
    const content = randomBytes(25 * 1024 * 1024);
    const stored = await upload(content);
    expect(stored.status, stored.text).to.equal(200);
    expect(stored.json).to.deep.include({ name: 'a.bin', size: content.length, chunks_count: 3, status: 'ready' });
    const path = `/api/files/${String(stored.json['id'])}/download`;
    const [status, whole, headers] = await bytesOf(path);
    expect([status, whole.equals(content)]).to.deep.equal([200, true]);
    const etag = headers.get('etag') ?? '';
    for (const [range, start, end] of [
      ['bytes=0-0', 0, 1],
      ['bytes=10485750-10485769', 10_485_750, 10_485_770],
      ['bytes=-5', content.length - 5, content.length],
      [`bytes=${content.length - 3}-`, content.length - 3, content.length],
      ['bytes=1-99999999999', 1, content.length],
    ] as const) {
      const [code, part] = await bytesOf(path, { range });
      expect([code, part.equals(content.subarray(start, end))], range).to.deep.equal([206, true]);
    }
    const [beyond, , beyondHeaders] = await bytesOf(path, { range: `bytes=${content.length}-` });
    expect([beyond, beyondHeaders.get('content-range')]).to.deep.equal([416, `bytes */${content.length}`]);
    expect((await bytesOf(path, { 'if-none-match': etag }))[0]).to.equal(304);
    expect((await bytesOf(path, { range: 'bytes=0-3', 'if-range': etag }))[0]).to.equal(206);
    expect((await bytesOf(path, { range: 'bytes=0-3', 'if-range': '"other"' }))[1].length).to.equal(content.length);
    const head = await gateway.call('HEAD', path, { token });
    expect([head.status, head.headers.get('content-length'), head.text]).to.deep.equal([
      200,
      String(content.length),
      '',
    ]);
  });

  it('go under the conditions of their requests, or not at all', async () => {
    const stored = await upload(Buffer.from('conditions'));
    const path = `/api/files/${String(stored.json['id'])}/download`;
    const [, , headers] = await bytesOf(path);
    const etag = headers.get('etag') ?? '';
    const modified = headers.get('last-modified') ?? '';
    const later = new Date(Date.parse(modified) + 60_000).toUTCString();
    const earlier = new Date(Date.parse(modified) - 60_000).toUTCString();
    for (const [given, status] of [
      [{ 'if-match': '"x"' }, 412],
      [{ 'if-match': `W/${etag}` }, 412],
      [{ 'if-match': `"x", ${etag}` }, 200],
      [{ 'if-match': '*' }, 200],
      [{ 'if-unmodified-since': earlier }, 412],
      [{ 'if-unmodified-since': later }, 200],
      [{ 'if-unmodified-since': 'yesterday' }, 412],
      [{ 'if-match': etag, 'if-unmodified-since': earlier }, 200],
      [{ 'if-none-match': `W/${etag}` }, 304],
      [{ 'if-none-match': '*' }, 304],
      [{ 'if-none-match': '"x"' }, 200],
      [{ 'if-modified-since': modified }, 304],
      [{ 'if-modified-since': earlier }, 200],
      [{ 'if-match': '"x"', 'if-none-match': etag }, 412],
      [{ range: 'bytes=0-1', 'if-range': modified }, 206],
      [{ range: 'bytes=0-1', 'if-range': earlier }, 200],
      [{ range: 'bytes=0-1,4-5' }, 200],
      [{ range: 'bytes=-0' }, 416],
    ] as const) {
      const answer = await gateway.call('GET', path, { token, headers: given });
      expect(answer.status, JSON.stringify(given)).to.equal(status);
      if (status === 412) expect(answer.json['code']).to.equal('failed_precondition');
    }

    // By path what is there changes: there is no date to compare with, but there is an ETag.
    const put = (headers: Record<string, string>, query = '') =>
      gateway.call('POST', `/api/fs/upload?path=/conditional${query}`, { token, headers, body: Buffer.from('1') });
    expect((await put({ 'if-none-match': '*' })).status).to.equal(200);
    const again = await put({ 'if-none-match': '*' }, '&overwrite=true');
    expect([again.status, again.json['code']]).to.deep.equal([412, 'failed_precondition']);
    expect((await put({ 'if-match': '"x"' }, '&overwrite=true')).status).to.equal(412);
    const byPath = '/api/fs/download?path=/conditional';
    expect((await bytesOf(byPath, { 'if-unmodified-since': later }))[0]).to.equal(412);
    expect((await bytesOf(byPath, { 'if-match': '*' }))[0]).to.equal(200);

    // Where nothing can be compared, what is to prevent something is refused.
    for (const [method, address] of [
      ['GET', '/api/files'],
      ['DELETE', `/api/files/${String(stored.json['id'])}`],
      ['DELETE', '/api/fs/delete?path=/conditional'],
    ] as const)
      expect((await gateway.call(method, address, { token, headers: { 'if-match': etag } })).status).to.equal(412);
    expect((await bytesOf(path))[0]).to.equal(200);
  });

  it('are stored only when they are what their integrity headers say', async () => {
    const content = randomBytes(11 * 1024 * 1024);
    const sum = (algorithm: string, of: Buffer = content): string => createHash(algorithm).update(of).digest('base64');
    const put = (headers: Record<string, string>, body: Buffer | string = content) =>
      gateway.call('POST', '/api/fs/upload?path=/checked&overwrite=true', { token, headers, body });
    const other = Buffer.from('other');
    for (const wrong of [
      { 'content-md5': sum('md5', other) },
      { digest: `SHA-256=${sum('sha256', other)}` },
      { 'content-digest': `sha-512=:${sum('sha512', other)}:` },
      { 'repr-digest': `sha-256=:${sum('sha256')}:, md5=:${sum('md5', other)}:` },
      { 'content-md5': 'short' },
      { 'content-digest': `sha-256=${sum('sha256')}` },
      { digest: 'crc32c=AAAAAA==' },
      { 'content-range': 'bytes 0-9/100' },
      { 'x-http-method-override': 'DELETE' },
    ]) {
      const answer = await put(wrong as unknown as Record<string, string>);
      const [field] = Object.keys(wrong);
      expect([answer.status, (answer.json['details'] as { field: string }).field], field).to.deep.equal([400, field]);
    }
    expect((await gateway.call('GET', '/api/fs/stat?path=/checked', { token })).status).to.equal(404);
    expect((await gateway.call('GET', '/api/fs/quota', { token })).json['reserved']).to.equal(0);
    for (const right of [
      { 'content-md5': sum('md5') },
      { digest: `SHA-256=${sum('sha256')},unixsum=30637` },
      { 'content-digest': `sha-512=:${sum('sha512')}:`, 'repr-digest': `sha-256=:${sum('sha256')}:` },
    ])
      expect((await put(right as unknown as Record<string, string>)).status).to.equal(200);

    // Of a JSON body, and of what comes in several parts, they are of the body as well.
    const folder = JSON.stringify({ path: '/of-json' });
    const mkdir = (headers: Record<string, string>) =>
      gateway.call('POST', '/api/fs/mkdir', { token, body: folder, headers });
    const json = { 'content-type': 'application/json' };
    expect((await mkdir({ ...json, 'content-md5': sum('md5') })).status).to.equal(400);
    expect((await mkdir({ ...json, 'content-md5': sum('md5', Buffer.from(folder)) })).status).to.equal(200);
    const parts = '--b\r\nContent-Disposition: form-data; name="file"; filename="x"\r\n\r\nhello\r\n--b--\r\n';
    const type = { 'content-type': 'multipart/form-data; boundary=b' };
    const sent = (md5: string, body = parts) =>
      gateway.call('POST', '/api/fs/upload?path=/parts', { token, body, headers: { ...type, 'content-md5': md5 } });
    expect((await sent(sum('md5', Buffer.from('hello')))).status).to.equal(400);
    expect((await sent(sum('md5', Buffer.from(parts)))).status).to.equal(200);
  });

  it('come with nothing that would be dropped in silence', async () => {
    const json = { 'content-type': 'application/json' };
    for (const [path, body, headers, status, field] of [
      ['/api/fs/mkdir', '{"path":"/a","path":"/b"}', json, 400, 'path'],
      ['/api/fs/mkdir', '{"path":"/a"} {}', json, 400, 'body'],
      ['/api/fs/mkdir', '{"path":"/a"}', { 'content-type': 'application/json; charset=utf-16' }, 415, 'content-type'],
      ['/api/fs/mkdir?parents=true', '{"path":"/a"}', json, 400, 'parents'],
      ['/auth/logout', '{"everywhere":true}', json, 400, 'everywhere'],
      ['/auth/logout?everywhere=true', '', {}, 400, 'everywhere'],
    ] as const) {
      const answer = await gateway.call('POST', path, { token, body, headers });
      const found = (answer.json['details'] as { field?: string } | undefined)?.field;
      expect([answer.status, found], `${path} ${body}`).to.deep.equal([status, field]);
    }
    expect((await gateway.call('GET', '/auth/whoami', { token })).status, 'still logged in').to.equal(200);
    const part = 'Content-Disposition: form-data; name="file"; filename="x"';
    const multipart = (head: string, rest = '') =>
      gateway.call('POST', '/api/fs/upload?path=/encoded', {
        token,
        headers: { 'content-type': 'multipart/form-data; boundary=b' },
        body: `--b\r\n${head}\r\n\r\naGVsbG8=\r\n${rest}--b--\r\n`,
      });
    expect((await multipart(`${part}\r\nContent-Transfer-Encoding: base64`)).status).to.equal(400);
    const twice = '--b\r\nContent-Disposition: form-data; name="path"\r\n\r\n/elsewhere\r\n';
    expect((await multipart(part, twice)).json['details']).to.include({ field: 'path' });
    expect((await gateway.call('GET', '/api/fs/stat?path=/encoded', { token })).status).to.equal(404);

    const raw = (lines: string, body = '') =>
      gateway.raw(`GET /auth/whoami HTTP/1.1\r\nHost: x\r\nConnection: close\r\n${lines}\r\n\r\n${body}`);
    expect(await raw('Expect: 200-ok')).to.match(/^HTTP\/1.1 417 [^]*"code":"invalid_argument"/);
    expect(await raw(`Authorization: Bearer x\r\nAuthorization: Bearer ${token}`)).to.match(/^HTTP\/1.1 400 /);
    expect(await raw(`Authorization: Bearer ${token}\r\nTransfer-Encoding: gzip, chunked`, '0\r\n\r\n')).to.match(
      /^HTTP\/1.1 (400|501) /,
    );
  });

  it('come as multipart, with the path before the file or after it', async () => {
    const blob = new Blob(['hello']);
    const file: Part = ['file', blob];
    const bodies: Readonly<Record<string, readonly Part[]>> = {
      '/before.txt': [['path', '/before.txt'], file],
      '/after.txt': [file, ['path', '/after.txt']],
      '/new/folder/x.txt': [file, ['path', '/new/folder/x.txt'], ['parents', 'true']],
    };
    for (const [path, parts] of Object.entries(bodies)) {
      const stored = await gateway.call('POST', '/api/fs/upload', { token, body: form(...parts) });
      expect(stored.status, stored.text).to.equal(200);
      expect(stored.json).to.deep.include({ path, size: 5 });
      const [, content, headers] = await bytesOf(`/api/fs/download?path=${encodeURIComponent(path)}`);
      expect(content.toString()).to.equal('hello');
      expect(headers.get('content-disposition')).to.contain(path.split('/').at(-1));
    }
  });

  it('leave nothing behind when they are refused after their bytes have come', async () => {
    const blob = new Blob([randomBytes(100_000)]);
    const before = await gateway.call('GET', '/api/fs/quota', { token });
    const refused = async (...parts: Part[]): Promise<[number, unknown]> => {
      const { status, json } = await gateway.call('POST', '/api/fs/upload', { token, body: form(...parts) });
      return [status, (json['details'] as Record<string, unknown>)['field']];
    };
    expect(await refused(['file', blob])).to.deep.equal([400, 'path']);
    expect(await refused(['file', blob], ['path', 'relative'])).to.deep.equal([400, 'path']);
    expect(await refused(['file', blob], ['path', '/a'], ['colour', 'red'])).to.deep.equal([400, 'colour']);
    expect(await refused(['file', blob], ['path', '/a'], ['path', '/b'])).to.deep.equal([400, 'path']);
    expect(await refused(['path', '/a'])).to.deep.equal([400, 'file']);
    expect((await refused(['file', blob], ['path', '/before.txt']))[0]).to.equal(409);
    expect((await refused(['file', blob], ['path', '/nowhere/a']))[0]).to.equal(404);
    const after = await gateway.call('GET', '/api/fs/quota', { token });
    expect(after.json).to.deep.equal(before.json);
  });

  it('keep any name, and no name can forge a header', async () => {
    for (const name of ['naïve 雪.txt', '"quoted"; filename=evil.txt', "50%'s.txt", 'semi;colon', '.hidden']) {
      const { json, status, text } = await upload(`of ${name}`, name);
      expect(status, text).to.equal(200);
      const [, , headers] = await bytesOf(`/api/files/${String(json['id'])}/download`);
      const disposition = headers.get('content-disposition') ?? '';
      const found = /^attachment; filename="([^"\\\r\n]*)"(?:; filename\*=UTF-8''([A-Za-z0-9!#$&+.^_`|~%-]+))?$/.exec(
        disposition,
      );
      const [, plain, encoded] = found ?? [];
      expect(encoded === undefined ? plain : decodeURIComponent(encoded), disposition).to.equal(name);
      expect(headers.get('x-content-type-options')).to.equal('nosniff');
    }
    for (const name of ['a\r\nSet-Cookie: x=1', 'a\0b', '../up', 'a/b', '..', '', 'x'.repeat(256)])
      expect((await upload('x', name)).status, JSON.stringify(name)).to.equal(400);
  });
});

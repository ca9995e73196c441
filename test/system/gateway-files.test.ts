/** Bytes through the gateway to real agents: both ways of an upload, ranges, names, and what is refused. */
import { randomBytes } from 'node:crypto';
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
      const encoded = /filename\*=UTF-8''([^;]*)$/.exec(disposition)?.[1] ?? '';
      expect(decodeURIComponent(encoded)).to.equal(name);
      expect(disposition).to.match(/^attachment; filename="[^"\\\r\n]*"; filename\*=UTF-8''[A-Za-z0-9!#$&+.^_`|~%-]+$/);
      expect(headers.get('x-content-type-options')).to.equal('nosniff');
    }
    for (const name of ['a\r\nSet-Cookie: x=1', 'a\0b', '../up', 'a/b', '..', '', 'x'.repeat(256)])
      expect((await upload('x', name)).status, JSON.stringify(name)).to.equal(400);
  });
});

/** Bodies in pieces as the network may cut them. */
import { expect } from 'chai';
import { Multipart } from '../../gateway/doors/rest/multipart.js';

const HEADERS = { 'content-type': 'multipart/form-data; boundary=cut' };
const field = (name: string, value: string): string =>
  `--cut\r\nContent-Disposition: form-data; name="${name}"\r\n\r\n${value}\r\n`;
const FILE = '--cut\r\nContent-Disposition: form-data; name="file"; filename="x"\r\n\r\nhello\r\n';
const END = '--cut--\r\n';

/** In two pieces. */
async function* cutAt(text: string, at: number): AsyncGenerator<Buffer> {
  for (const piece of [text.slice(0, at), text.slice(at)]) {
    if (piece !== '') yield Buffer.from(piece);
    await new Promise((resolve) => setImmediate(resolve));
  }
}

describe('a multipart body', () => {
  it('tells which fields came before the file, wherever it is cut', async () => {
    const text = `${field('replicas', '2')}${FILE}${field('path', '/a/b')}${field('parents', 'true')}${END}`;
    for (let at = 0; at < text.length; at += 1) {
      const body = new Multipart(HEADERS, cutAt(text, at));
      const file = await body.file;
      let content = '';
      for await (const piece of file.stream) content += String(piece);
      await body.end;
      expect(content, `cut at ${at}`).to.equal('hello');
      expect(file.fieldsBefore, `cut at ${at}`).to.deep.equal({ replicas: '2' });
      expect(body.fields).to.deep.equal({ replicas: '2', path: '/a/b', parents: 'true' });
    }
  });
});

/** The gateway's pure parts: ranges, names in headers. */
import { expect } from 'chai';
import fc from 'fast-check';
import { parseRange } from '../../gateway/http/conditions.js';
import { attachment } from '../../gateway/doors/rest/download.js';
import { Multipart } from '../../gateway/doors/rest/multipart.js';
import { codeOf } from '../support/codes.js';

describe('byte ranges', () => {
  it('are what RFC 9110 says, and otherwise the whole', () => {
    const whole = ['', 'bytes=', 'bytes=-', 'bytes=5-2', 'bytes=0-1,3-4', 'lines=0-1', 'bytes=a-b', 'bytes=1'];
    for (const header of whole) expect(parseRange(header, 10), header).to.equal(undefined);
    const spaced = ['bytes=1 -2', 'bytes=1- 2', 'bytes= 1-2', 'bytes =1-2', 'bytes=1 2-3', 'by tes=1-2'];
    for (const header of spaced) expect(parseRange(header, 10), header).to.equal(undefined);
    expect(parseRange('bytes=0-0', 10)).to.deep.equal({ start: 0, end: 1 });
    expect(parseRange('Bytes=0-0', 10)).to.deep.equal({ start: 0, end: 1 });
    expect(parseRange('bytes=4-', 10)).to.deep.equal({ start: 4, end: 10 });
    expect(parseRange('bytes=-4', 10)).to.deep.equal({ start: 6, end: 10 });
    expect(parseRange('bytes=-40', 10)).to.deep.equal({ start: 0, end: 10 });
    expect(parseRange('bytes=4-400', 10)).to.deep.equal({ start: 4, end: 10 });
    const beyond = ['bytes=10-', 'bytes=-0', 'bytes=9007199254740993-', 'bytes=99999999999999999999-'];
    for (const header of beyond) expect(() => parseRange(header, 10), header).to.throw('10 bytes');
    expect(() => parseRange('bytes=0-', 0)).to.throw('0 bytes');
  });

  it('never lead out of the file', () => {
    const part = fc.oneof(fc.nat().map(String), fc.constant(''));
    fc.assert(
      fc.property(part, part, fc.nat(), (first, last, size) => {
        let range;
        try {
          range = parseRange(`bytes=${first}-${last}`, size);
        } catch {
          return;
        }
        if (range !== undefined)
          expect(0 <= range.start && range.start < range.end && range.end <= size).to.equal(true);
      }),
    );
  });
});

describe('the name of a download', () => {
  it('comes back whole from the header, and can break out of nothing', () => {
    // A name of a file has no slash.
    const names = fc.string({ unit: 'grapheme', minLength: 1 }).map((name) => name.replaceAll('/', '_'));
    fc.assert(
      fc.property(names, (name) => {
        const header = attachment(name);
        const found =
          /^attachment; filename="([ !#$&-[\]-~]*)"(?:; filename\*=UTF-8''([A-Za-z0-9!#$&+.^_`|~%-]*))?$/.exec(header);
        expect(found, header).not.to.equal(null);
        const [, plain, encoded] = found ?? [];
        expect(encoded === undefined ? plain : decodeURIComponent(encoded)).to.equal(name);
      }),
    );
  });
});

describe('a multipart body that is wrong while its file is open', () => {
  const head = (field: string, file: string): string =>
    `--X\r\nContent-Disposition: form-data; name="${field}"${file === '' ? '' : `; filename="${file}"`}\r\n\r\n`;
  const bodies: Readonly<Record<string, readonly string[]>> = {
    'two files': [`${head('file', 'a')}one\r\n${head('file', 'b')}two\r\n--X--\r\n`],
    'an end in the middle of the file': [`${head('file', 'a')}hello`],
    'a field given twice, with the file between': [
      `${head('path', '')}/a\r\n${head('file', 'a')}one\r\n${head('path', '')}/b\r\n--X--\r\n`,
    ],
    'a field that is too long': [
      `${head('path', '')}${'x'.repeat(20_000)}\r\n${head('file', 'a')}on`,
      'e\r\n--X--\r\n',
    ],
  };
  for (const [what, pieces] of Object.entries(bodies)) {
    it(`${what}: is refused, whether somebody reads the file or not`, async () => {
      for (const isRead of [false, true]) {
        const body = (async function* () {
          for (const piece of pieces) {
            await Promise.resolve();
            yield Buffer.from(piece);
          }
        })();
        const parts = new Multipart({ 'content-type': 'multipart/form-data; boundary=X' }, body);
        // Unread, a file keeps the rest from coming: the request is then ended by its own time limit.
        if (isRead) void parts.file.then(({ stream }) => stream.resume()).catch(() => undefined);
        else void parts.file.then(({ stream }) => stream.destroy(new Error('nobody wants it'))).catch(() => undefined);
        expect(['invalid_argument', 'resource_exhausted']).to.include(await codeOf(() => parts.end));
      }
    });
  }
});

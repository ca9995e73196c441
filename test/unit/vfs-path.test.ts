import { expect } from 'chai';
import fc from 'fast-check';
import { MAX_NAME_BYTES, MAX_PATH_BYTES } from '../../shared/limits.js';
import { parseOwnPath, parsePath } from '../../controller/vfs/path.js';
import { NexusError } from '../../shared/errors.js';

const part = fc.oneof(
  fc.constantFrom('', '.', '..', 'a', 'b', 'é', 'e\u0301', '日本', '...', '~', '#', ' '),
  fc.string({ maxLength: 8, unit: 'grapheme' }).filter((text) => !/[/\p{Cc}\p{Cs}]/u.test(text)),
);
const anyPath = fc.array(part, { maxLength: 12 }).map((parts) => `/${parts.join('/')}`);

describe('paths of the virtual file system', () => {
  it('resolve to names that are names, and to the same ones again', () => {
    fc.assert(
      fc.property(anyPath, (text) => {
        const names = parsePath(text);
        for (const name of names) {
          expect(name).not.to.be.oneOf(['', '.', '..']);
          expect(name).not.to.include('/');
          expect(name).to.equal(name.normalize('NFC'));
        }
        expect(parsePath(`/${names.join('/')}`)).to.deep.equal(names);
      }),
    );
  });

  it('go up by "..", and never above the topmost folder', () => {
    fc.assert(
      fc.property(anyPath, fc.nat({ max: 20 }), (text, ups) => {
        const names = parsePath(text);
        const above = parsePath(`/${[...names, ...Array<string>(ups).fill('..')].join('/')}`);
        expect(above).to.deep.equal(names.slice(0, Math.max(0, names.length - ups)));
      }),
    );
    expect(parsePath('/../../etc/passwd')).to.deep.equal(['etc', 'passwd']);
    expect(parsePath('/a/./b//../c/')).to.deep.equal(['a', 'c']);
  });

  it('are the same for people who type the same characters in another way', () => {
    expect(parsePath('/e\u0301')).to.deep.equal(parsePath('/\u00e9'));
  });

  it('are refused with what is wrong', () => {
    const cases: readonly (readonly [text: string, problem: RegExp])[] = [
      ['', /must not be empty; it begins with "\/"$/],
      ['foo', /did you mean "\/foo"/],
      ['/a\0b', /control characters/],
      ['/a\nb', /control characters/],
      ['/a\u0085b', /control characters/],
      ['/\ud800', /well-formed/],
      [`/${'x'.repeat(MAX_NAME_BYTES + 1)}`, /a name must be at most 255 bytes/],
      [`/${'é'.repeat(128)}`, /a name must be at most 255 bytes/],
      [`/${'x/'.repeat(MAX_PATH_BYTES / 2)}`, /at most 4096 bytes/],
    ];
    for (const [text, problem] of cases) {
      expect(() => parsePath(text, 'to'), JSON.stringify(text))
        .to.throw(NexusError, problem)
        .with.deep.property('code', 'invalid_argument');
    }
    expect(parsePath(`/${'x'.repeat(MAX_NAME_BYTES)}`)).to.have.length(1);
    expect(() => parseOwnPath('/a/..')).to.throw(NexusError, /topmost folder/);
  });
});

/** How a download is to be called (RFC 6266): the name in full for whoever reads UTF-8, and a plain one for the others. */

/** What RFC 5987 lets stand as it is. */
const PLAIN = /[^A-Za-z0-9!#$&+.^_`|~-]/gu;

/** Control characters, quotes and anything beyond ASCII never reach the header as they are. */
export function attachment(name: string): string {
  const ascii = name.replace(/[^\x20-\x7e]|["\\%]/gu, '_');
  const encoded = name.replace(PLAIN, (character) =>
    [...Buffer.from(character)].map((byte) => `%${byte.toString(16).toUpperCase().padStart(2, '0')}`).join(''),
  );
  return `attachment; filename="${ascii}"; filename*=UTF-8''${encoded}`;
}

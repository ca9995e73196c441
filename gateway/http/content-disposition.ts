/** Names a download (RFC 6266): the full name for clients that read UTF-8, and a plain one for all others. */

/** Characters to percent-encode: all except those that RFC 5987 allows unencoded. */
const PLAIN = /[^A-Za-z0-9!#$&+.^_`|~-]/gu;

/** Control characters, quotes and characters beyond ASCII never reach the header unencoded. */
export function attachment(name: string): string {
  const ascii = name.replace(/[^\x20-\x7e]|["\\%]/gu, '_');
  const encoded = name.replace(PLAIN, (character) =>
    [...Buffer.from(character)].map((byte) => `%${byte.toString(16).toUpperCase().padStart(2, '0')}`).join(''),
  );
  return `attachment; filename="${ascii}"; filename*=UTF-8''${encoded}`;
}

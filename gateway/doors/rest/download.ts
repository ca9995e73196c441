/**
 * Answers a download: conditions, ranges, headers, then the bytes at the client's pace. Nothing is sent before the first
 * piece has come, so that an unreadable file is reported by a status; later failures break the connection off.
 */
import contentDisposition from 'content-disposition';
import { hasPart, isNotModified, parseRange } from '../../http/conditions.js';
import { sendPieces } from '../../http/body.js';
import type { Input } from '../../http/route.js';
import type { Source } from '../../transfer/port.js';
import { identify } from './identity.js';

export async function sendContent(input: Input<unknown, unknown, unknown>, source: Source): Promise<void> {
  const { koa, session, limits, transfers } = input;
  await using content = await transfers.open(source, await identify(input), session.signal);
  const { file, name } = content;
  const size = Number(file.size);
  // The content of an id never changes, whatever its name.
  koa.set('ETag', `"${file.id}"`);
  koa.set('Accept-Ranges', 'bytes');
  koa.set('Cache-Control', 'private, no-cache');
  // At a path there may be other content within the same second.
  if (source.kind === 'file') koa.lastModified = new Date(Date.parse(file.createdAt));
  if (isNotModified(koa)) {
    koa.status = 304;
    return;
  }
  // Ranges are defined for GET alone (RFC 9110, 14.2).
  const range = koa.method === 'GET' && hasPart(koa) ? parseRange(koa.get('range'), size) : undefined;
  koa.status = range === undefined ? 200 : 206;
  koa.set('Content-Type', 'application/octet-stream');
  koa.set('Content-Disposition', attachment(name));
  koa.set('Content-Length', String(range === undefined ? size : range.end - range.start));
  if (range !== undefined) koa.set('Content-Range', `bytes ${range.start}-${range.end - 1}/${size}`);
  // HEAD is answered like GET, including errors for bytes that can't be read.
  if (koa.method === 'HEAD') await content.assertReadable();
  koa.respond = false;
  if (koa.method === 'HEAD') koa.res.end();
  else await sendPieces(koa.res, content.send(range), limits.stallMs);
}

/**
 * Names a download (RFC 6266): the whole name for clients that read UTF-8, and a plain one for all others. The name has
 * no folders, of which the library would keep the last part alone.
 */
export const attachment = (name: string): string =>
  contentDisposition(name, { fallback: name.replace(/[^\x20-\x7e]|["\\%]/gu, '_') });

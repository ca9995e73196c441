/**
 * Streams a download from the nodes to the client at the client's pace. Nothing is sent before the first chunk has
 * arrived and was checked, so that an unreadable file is reported by a status; later failures break the connection off.
 */
import type { ServerResponse } from 'node:http';
import { after, cancel } from '../../../shared/async/timers.js';
import { outcome } from '../../../shared/async/wait.js';
import type { File } from '../../../shared/gen/nexus/v1/file.js';
import { CHUNK_SIZE_BYTES, KIB } from '../../../shared/limits.js';
import { downloadFile } from '../../../shared/transfer/download.js';
import { parseRange, type ByteRange } from '../../http/byte-range.js';
import { hasPart, isNotModified } from '../../http/conditions.js';
import { downloadCatalogue } from '../../../shared/rpc/file-catalogue.js';
import { attachment } from '../../http/content-disposition.js';
import { tooSlow } from '../../http/http-error.js';
import type { Input } from '../../http/route.js';

/** Bytes written at once: a client must accept this much within the time for a stall. */
const PIECE_BYTES = 256 * KIB;

export interface Content {
  readonly file: File;
  readonly name: string;
  /** Lease of a pin in the virtual file system; empty: none. */
  readonly leaseId: string;
  /** Set if the content at this address can never change; ms since the epoch. */
  readonly modifiedAt?: number;
}

export async function sendContent(
  { koa, session, limits, turns }: Input<unknown, unknown, unknown>,
  { file, name, leaseId, modifiedAt }: Content,
): Promise<void> {
  const size = Number(file.size);
  // The content of an id never changes, whatever its name.
  const etag = `"${file.id}"`;
  koa.set('ETag', etag);
  koa.set('Accept-Ranges', 'bytes');
  koa.set('Cache-Control', 'private, no-cache');
  if (modifiedAt !== undefined) koa.lastModified = new Date(modifiedAt);
  if (isNotModified(koa)) {
    koa.status = 304;
    return;
  }
  const range = hasPart(koa) ? parseRange(koa.get('range'), size) : undefined;
  koa.status = range === undefined ? 200 : 206;
  koa.set('Content-Type', 'application/octet-stream');
  koa.set('Content-Disposition', attachment(name));
  koa.set('Content-Length', String(range === undefined ? size : range.end - range.start));
  if (range !== undefined) koa.set('Content-Range', `bytes ${range.start}-${range.end - 1}/${size}`);
  const { username } = await session.call(session.identity.whoAmI, {});
  const catalogue = downloadCatalogue(session, leaseId);
  // HEAD is answered like GET, including errors for bytes that can't be read.
  if (koa.method === 'HEAD' && size > 0)
    await catalogue.chunkSources(file.id, firstChunk(range), 1, endChunk(file, range));
  koa.respond = false;
  const { res } = koa;
  if (koa.method === 'HEAD' || size === 0) {
    res.end();
    return;
  }
  await turns.take(username, session.signal, () =>
    downloadFile(catalogue, {
      fileId: file.id,
      chunksCount: file.chunksCount,
      ...(range === undefined ? {} : { range }),
      deliver: (data) => deliver(res, data, limits.stallMs),
      signal: session.signal,
    }),
  );
  res.end();
}

const firstChunk = (range: ByteRange | undefined): number => Math.floor((range?.start ?? 0) / CHUNK_SIZE_BYTES);

const endChunk = (file: File, range: ByteRange | undefined): number =>
  range === undefined ? file.chunksCount : Math.ceil(range.end / CHUNK_SIZE_BYTES);

/**
 * Resolves when the socket no longer needs the data, as the buffer is reused. Code: deadline_exceeded; an Error without
 * a code when the connection breaks off.
 */
async function deliver(res: ServerResponse, data: Buffer, stallMs: number): Promise<void> {
  for (let at = 0; at < data.length; at += PIECE_BYTES) await write(res, data.subarray(at, at + PIECE_BYTES), stallMs);
}

function write(res: ServerResponse, piece: Buffer, stallMs: number): Promise<void> {
  return outcome((resolve, reject) => {
    let failure: Error = new Error('the connection broke off');
    const timer = after(stallMs, () => {
      failure = tooSlow('the client takes nothing; the download');
      // An error can't be reported any more. The promise rejects on 'close': until then the socket may still send the
      // buffer.
      res.destroy();
    });
    const onClose = (): void => reject(failure);
    if (res.closed) onClose();
    else {
      res.once('close', onClose);
      res.write(piece, (error) => {
        // Without a failure it is undefined or null; after one, 'close' follows.
        if (!(error instanceof Error)) resolve();
      });
    }
    return () => {
      cancel(timer);
      res.off('close', onClose);
    };
  });
}

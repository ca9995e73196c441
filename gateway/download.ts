/**
 * A download: chunks from the nodes to the client as fast as it takes them. Nothing is answered before the first chunk
 * is there and right, so that what can't be read is told by a status; what fails later breaks the connection off.
 */
import type { ServerResponse } from 'node:http';
import type { File } from '../shared/gen/nexus/v1/file.js';
import { CHUNK_SIZE_BYTES, KIB } from '../shared/limits.js';
import { downloadFile } from '../shared/transfer/download.js';
import { parseRange, type ByteRange } from './byte-range.js';
import { hasPart, isNotModified } from './conditions.js';
import { downloadCatalogue } from '../shared/rpc/file-catalogue.js';
import { attachment } from './content-disposition.js';
import { tooSlow } from './http-error.js';
import type { Input } from './route.js';

/** Handed over at once: a client must take so much within the time for a stall. */
const PIECE_BYTES = 256 * KIB;

export interface Content {
  readonly file: File;
  readonly name: string;
  /** Of a pin in the virtual file system; empty: none. */
  readonly leaseId: string;
  /** Where nothing else than this content can ever be at the address; ms since the epoch. */
  readonly modifiedAt?: number;
}

export async function sendContent(
  { koa, session, limits, turns }: Input<unknown, unknown, unknown>,
  { file, name, leaseId, modifiedAt }: Content,
): Promise<void> {
  const size = Number(file.size);
  // The content of an id never changes, whatever it is called.
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
  // The answer to HEAD is that of GET: also where the bytes can't be had.
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

/** Settles when the socket has no more use for the data: the buffer is used again. Codes: deadline_exceeded, cancelled. */
async function deliver(res: ServerResponse, data: Buffer, stallMs: number): Promise<void> {
  for (let at = 0; at < data.length; at += PIECE_BYTES) await write(res, data.subarray(at, at + PIECE_BYTES), stallMs);
}

function write(res: ServerResponse, piece: Buffer, stallMs: number): Promise<void> {
  return new Promise((resolve, reject) => {
    let failure: Error = new Error('the connection broke off');
    const timer = setTimeout(() => {
      failure = tooSlow('the client takes nothing; the download');
      // Nothing could be said any more; until it is closed it may still send what is there.
      res.destroy();
    }, stallMs);
    const onClose = (): void => {
      clearTimeout(timer);
      reject(failure);
    };
    if (res.closed) {
      onClose();
      return;
    }
    res.once('close', onClose);
    res.write(piece, (error) => {
      // Its absence is undefined or null; after a failure the close follows.
      if (error instanceof Error) return;
      clearTimeout(timer);
      res.off('close', onClose);
      resolve();
    });
  });
}

/**
 * A node's log as a stream: what is there of it and of the logs before it, or the last lines of that, and on request what
 * comes. A log that is full is copied to the next name and begins anew in place, so that its descriptor stays the right one.
 */
import { watch } from 'node:fs';
import { open, type FileHandle } from 'node:fs/promises';
import { dirname, basename } from 'node:path';
import type { Settings } from '../../../shared/config/settings.js';
import { KIB } from '../../../shared/limits.js';
import { logFileNames } from '../../../shared/log-files.js';
import type { NodeId } from '../../../shared/ids.js';
import { nodeLog } from '../paths.js';

export interface LogRequest {
  readonly follow: boolean;
  /** Last lines; 0: all. */
  readonly tail: number;
  /** False ends a follow: the node was removed. */
  readonly isThere: () => boolean;
  readonly signal: AbortSignal;
}

const PIECE_BYTES = 64 * KIB;
/** A line's time of day is among so many bytes. */
const MARK_BYTES = 256;
/** A follow looks again at least this often, should the file system keep an event to itself. */
const LOOK_AGAIN_MS = 1000;

type Send = (data: Buffer) => Promise<void>;

export async function followLog(settings: Settings, id: NodeId, request: LogRequest, send: Send): Promise<void> {
  const path = nodeLog(settings, id);
  const [, before = path] = logFileNames(path, settings.logFiles);
  let file: FileHandle;
  try {
    file = await open(path);
  } catch (error) {
    // A node that has not been started yet has said nothing.
    if ((error as NodeJS.ErrnoException).code === 'ENOENT' && !request.follow) return;
    throw error;
  }
  try {
    const cursor = await sendPast(file, logFileNames(path, settings.logFiles).slice(1), request, send);
    while (request.follow && !request.signal.aborted && request.isThere()) {
      await nextChange(path, request.signal);
      if (!(await cursor.isIn(file))) {
        // It has begun anew: what had not been seen of it is in the copy, unless a person has emptied it.
        await withFile(before, async (copy) => {
          if (await cursor.isIn(copy)) await cursor.send(copy, send, request.signal);
        });
        cursor.rewind();
      }
      await cursor.send(file, send, request.signal);
    }
  } finally {
    await file.close().catch(() => undefined);
  }
}

/** How far a log is sent, and the last bytes before: by them a log that has begun anew is told, however long it is already. */
class Cursor {
  #before = Buffer.alloc(0);

  constructor(private position: number) {}

  rewind(): void {
    this.position = 0;
    this.#before = Buffer.alloc(0);
  }

  async isIn(file: FileHandle): Promise<boolean> {
    const { length } = this.#before;
    const { buffer, bytesRead } = await file.read(Buffer.alloc(length), 0, length, this.position - length);
    return buffer.subarray(0, bytesRead).equals(this.#before);
  }

  async send(file: FileHandle, send: Send, signal: AbortSignal): Promise<void> {
    while (!signal.aborted) {
      const { buffer, bytesRead } = await file.read(Buffer.alloc(PIECE_BYTES), 0, PIECE_BYTES, this.position);
      if (bytesRead === 0) break;
      const piece = buffer.subarray(0, bytesRead);
      await send(piece);
      this.position += bytesRead;
      this.#before = Buffer.from(Buffer.concat([this.#before, piece]).subarray(-MARK_BYTES));
    }
  }
}

/** Sends what is asked for of the log and of those before it, `older` with the newest first; returns how far the log is sent. */
async function sendPast(
  file: FileHandle,
  older: readonly string[],
  { tail, signal }: LogRequest,
  send: Send,
): Promise<Cursor> {
  const size = (await file.stat()).size;
  const last = tail === 0 ? { position: 0, missing: Infinity } : await startOfLastLines(file, size, tail);
  const parts: { readonly path: string; readonly position: number }[] = [];
  let { missing } = last;
  for (const path of older) {
    if (missing === 0) break;
    await withFile(path, async (opened) => {
      const { size } = await opened.stat();
      const found = tail === 0 ? { position: 0, missing } : await startOfLastLines(opened, size, missing);
      parts.unshift({ path, position: found.position });
      missing = found.missing;
    });
  }
  for (const { path, position } of parts) {
    await withFile(path, (opened) => new Cursor(position).send(opened, send, signal));
  }
  const cursor = new Cursor(last.position);
  await cursor.send(file, send, signal);
  return cursor;
}

/** Does nothing where there is no such file. */
async function withFile(path: string, work: (file: FileHandle) => Promise<void>): Promise<void> {
  const file = await open(path).catch(() => undefined);
  if (file === undefined) return;
  try {
    await work(file);
  } finally {
    await file.close().catch(() => undefined);
  }
}

/** Reads backwards, piece by piece, until enough line ends have been seen; `missing`: lines that the file does not have. */
async function startOfLastLines(
  file: FileHandle,
  size: number,
  lines: number,
): Promise<{ readonly position: number; readonly missing: number }> {
  let seen = 0;
  for (let end = size; end > 0; end -= PIECE_BYTES) {
    const start = Math.max(0, end - PIECE_BYTES);
    const { buffer, bytesRead } = await file.read(Buffer.alloc(end - start), 0, end - start, start);
    for (let at = bytesRead - 1; at >= 0; at -= 1) {
      const isLast = start + at === size - 1;
      if (buffer[at] === 0x0a && !isLast) seen += 1;
      if (seen === lines) return { position: start + at + 1, missing: 0 };
    }
  }
  return { position: 0, missing: size === 0 ? lines : lines - seen - 1 };
}

function nextChange(path: string, signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    const watcher = watch(dirname(path), (_event, name) => {
      if (name === basename(path)) done();
    });
    const done = (): void => {
      clearTimeout(timer);
      watcher.close();
      signal.removeEventListener('abort', done);
      resolve();
    };
    const timer = setTimeout(done, LOOK_AGAIN_MS);
    watcher.on('error', done);
    signal.addEventListener('abort', done, { once: true });
    if (signal.aborted) done();
  });
}

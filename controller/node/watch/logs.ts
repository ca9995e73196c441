/**
 * Streams a node's log: the log and its older files, or their last lines, and on request new output. A full log is
 * copied to the next name and truncated in place, so that its descriptor stays valid.
 */
import { watch } from 'node:fs';
import { open, type FileHandle } from 'node:fs/promises';
import { dirname, basename } from 'node:path';
import { outcome } from '../../../shared/async/wait.js';
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
/** Enough bytes to contain a line's time, which makes them unique. */
const MARK_BYTES = 256;
/** A follow checks at least this often, in case the file system misses an event. */
const LOOK_AGAIN_MS = 1000;

type Send = (data: Buffer) => Promise<void>;

export async function followLog(settings: Settings, id: NodeId, request: LogRequest, send: Send): Promise<void> {
  const path = nodeLog(settings, id);
  const [, before = path] = logFileNames(path, settings.logFiles);
  let file: FileHandle;
  try {
    file = await open(path);
  } catch (error) {
    // A node that was never started has no log.
    if ((error as NodeJS.ErrnoException).code === 'ENOENT' && !request.follow) return;
    throw error;
  }
  try {
    const cursor = await sendPast(file, logFileNames(path, settings.logFiles).slice(1), request, send);
    while (request.follow && !request.signal.aborted && request.isThere()) {
      await nextChange(path, request.signal);
      if (!(await cursor.isIn(file))) {
        // The log was truncated: the unsent rest is in the copy, unless a person has emptied the log.
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

/**
 * Position up to which a log was sent, and the last bytes before it: they show whether the log was truncated, however
 * long it is again.
 */
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

/**
 * Sends the requested part of the log and of its older files (`older`: newest first). Returns the position reached in
 * the log.
 */
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

/** Does nothing if there is no such file. */
async function withFile(path: string, work: (file: FileHandle) => Promise<void>): Promise<void> {
  const file = await open(path).catch(() => undefined);
  if (file === undefined) return;
  try {
    await work(file);
  } finally {
    await file.close().catch(() => undefined);
  }
}

/** Reads backwards until enough line ends were seen. `missing`: number of lines that the file lacks. */
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
  const start = (resolve: () => void): (() => void) => {
    const watcher = watch(dirname(path), (_event, name) => {
      if (name === basename(path)) resolve();
    });
    watcher.on('error', resolve);
    return () => watcher.close();
  };
  return outcome(start, { signal, ms: LOOK_AGAIN_MS }).catch(() => undefined);
}

/** A node's log as a stream: what is there, or its last lines, and on request what comes. */
import { watch } from 'node:fs';
import { open, type FileHandle } from 'node:fs/promises';
import { dirname, basename } from 'node:path';
import type { Settings } from '../../shared/config/settings.js';
import { KIB } from '../../shared/limits.js';
import type { NodeId } from '../../shared/ids.js';
import { nodeLog } from './paths.js';

export interface LogRequest {
  readonly follow: boolean;
  /** Last lines; 0: all. */
  readonly tail: number;
  /** False ends a follow: the node was removed. */
  readonly isThere: () => boolean;
  readonly signal: AbortSignal;
}

const PIECE_BYTES = 64 * KIB;
/** A follow looks again at least this often, should the file system keep an event to itself. */
const LOOK_AGAIN_MS = 1000;

type Send = (data: Buffer) => Promise<void>;

export async function followLog(settings: Settings, id: NodeId, request: LogRequest, send: Send): Promise<void> {
  const path = nodeLog(settings, id);
  let file: FileHandle;
  try {
    file = await open(path);
  } catch (error) {
    // A node that has not been started yet has said nothing.
    if ((error as NodeJS.ErrnoException).code === 'ENOENT' && !request.follow) return;
    throw error;
  }
  try {
    let position = request.tail === 0 ? 0 : await startOfLastLines(file, request.tail);
    position = await sendFrom(file, position, send, request.signal);
    while (request.follow && !request.signal.aborted && request.isThere()) {
      await nextChange(path, request.signal);
      const { size } = await file.stat();
      // The log begins anew when the node is started with one that had grown too large.
      position = await sendFrom(file, size < position ? 0 : position, send, request.signal);
    }
  } finally {
    await file.close();
  }
}

async function sendFrom(file: FileHandle, from: number, send: Send, signal: AbortSignal): Promise<number> {
  let position = from;
  while (!signal.aborted) {
    const { buffer, bytesRead } = await file.read(Buffer.alloc(PIECE_BYTES), 0, PIECE_BYTES, position);
    if (bytesRead === 0) break;
    await send(buffer.subarray(0, bytesRead));
    position += bytesRead;
  }
  return position;
}

/** Reads backwards, piece by piece, until enough line ends have been seen. */
async function startOfLastLines(file: FileHandle, lines: number): Promise<number> {
  const { size } = await file.stat();
  let seen = 0;
  for (let end = size; end > 0; end -= PIECE_BYTES) {
    const start = Math.max(0, end - PIECE_BYTES);
    const { buffer, bytesRead } = await file.read(Buffer.alloc(end - start), 0, end - start, start);
    for (let at = bytesRead - 1; at >= 0; at -= 1) {
      const isLast = start + at === size - 1;
      if (buffer[at] === 0x0a && !isLast) seen += 1;
      if (seen === lines) return start + at + 1;
    }
  }
  return 0;
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

/** Where the bytes of an upload come from: a file, read straight into the chunk's buffer, or any stream. */
import type { FileHandle } from 'node:fs/promises';
import { outcome } from '../async/wait.js';
import { NexusError } from '../errors.js';

export interface ByteSource {
  /** Fills the buffer from its start and returns the number of bytes; fewer than it holds only at the end. */
  fill(buffer: Buffer): Promise<number>;
  /** Lets go of what the bytes come from, when no more are wanted; may be called at any time. */
  close?(): void;
}

/** Attributes that show whether a file is still the one that was opened. */
interface Version {
  readonly size: bigint;
  readonly mtimeNs: bigint;
  readonly ctimeNs: bigint;
}

/**
 * Reads a regular file as it was when this was called, or whatever comes from a pipe or device. Content read during a
 * write is neither the old nor the new, so a change is an error and never stored. Code: failed_precondition.
 */
export function fileSource(file: FileHandle, path: string): ByteSource {
  const atStart = versionOf(file);
  // Awaited with the first read. The no-op catch stops Node reporting an unhandled rejection meanwhile.
  atStart.catch(() => undefined);
  let total = 0n;
  return {
    fill: async (buffer) => {
      const before = await atStart;
      let filled = 0;
      while (filled < buffer.length) {
        const { bytesRead } = await file.read(buffer, filled, buffer.length - filled, null);
        filled += bytesRead;
        total += BigInt(bytesRead);
        if (before !== undefined && before.size > 0n && total > before.size)
          throw isSame(before, await versionOf(file))
            ? untrue(path, before, 'more')
            : changed(path, `it grew beyond ${before.size} bytes`);
        if (bytesRead > 0) continue;
        if (before !== undefined) assertSame(path, before, await versionOf(file), total);
        break;
      }
      return filled;
    },
  };
}

/** Undefined if it is not a regular file, and so has no size. */
async function versionOf(file: FileHandle): Promise<Version | undefined> {
  const stats = await file.stat({ bigint: true });
  return stats.isFile() ? stats : undefined;
}

function assertSame(path: string, before: Version, after: Version | undefined, read: bigint): void {
  // Kernel files in /proc report size 0, whatever they contain.
  if (before.size === 0n && after?.size === 0n) return;
  if (after?.size !== before.size)
    throw changed(path, `it had ${before.size} bytes when it was opened and then ${after?.size ?? 0n}`);
  if (!isSame(before, after)) throw changed(path, 'it was written to');
  if (read !== before.size) throw untrue(path, before, String(read));
}

const isSame = (before: Version, after: Version | undefined): boolean =>
  after?.size === before.size && after.mtimeNs === before.mtimeNs && after.ctimeNs === before.ctimeNs;

const changed = (path: string, how: string): NexusError =>
  new NexusError(
    'failed_precondition',
    `${path}: the file changed while it was read: ${how}; try again when nothing writes to it, or upload a copy of it`,
  );

/** Nobody wrote to the file: kernel files in /sys report the size of a page, whatever they contain. */
const untrue = (path: string, { size }: Version, read: string): NexusError =>
  new NexusError(
    'failed_precondition',
    `${path}: the system reports ${size} bytes, and ${read} could be read, so it may be incomplete; send its content to standard input: cat ${path} | nexus ... -`,
  );

/** Yields the same bytes in pieces, for data that is not sent as chunks. */
export async function* piecesOf(source: ByteSource, pieceBytes: number): AsyncGenerator<Buffer> {
  for (;;) {
    // A new buffer each time: a stream may still hold the previous one.
    const buffer = Buffer.allocUnsafe(pieceBytes);
    const size = await source.fill(buffer);
    if (size > 0) yield buffer.subarray(0, size);
    if (size < pieceBytes) return;
  }
}

/** A wait for bytes ends with `signal` (code: cancelled). */
export function streamSource(stream: AsyncIterable<Uint8Array>, signal?: AbortSignal): ByteSource {
  const iterator = stream[Symbol.asyncIterator]();
  const next = (): Promise<IteratorResult<Uint8Array>> =>
    outcome<IteratorResult<Uint8Array>>(
      (resolve, reject) => {
        iterator.next().then(resolve, reject);
        return undefined;
      },
      { signal },
    ).catch((error: unknown) => {
      if (signal?.aborted !== true || error !== signal.reason) throw error;
      throw new NexusError('cancelled', 'the upload was cancelled', {}, { cause: error });
    });
  let rest: Uint8Array = new Uint8Array(0);
  return {
    fill: async (buffer) => {
      let filled = 0;
      while (filled < buffer.length) {
        if (rest.length === 0) {
          const piece = await next();
          if (piece.done === true) break;
          rest = piece.value;
        }
        const taken = Math.min(rest.length, buffer.length - filled);
        buffer.set(rest.subarray(0, taken), filled);
        rest = rest.subarray(taken);
        filled += taken;
      }
      return filled;
    },
    // Not waited for: a generator that waits for bytes ends once they come.
    close: () => {
      iterator.return?.().catch(() => undefined);
    },
  };
}

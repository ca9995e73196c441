/**
 * The gateway's output, a file in its run folder that the gateway itself keeps within its bound. Read when the gateway
 * has ended, because the last lines give the reason.
 */
import { open, stat, type FileHandle } from 'node:fs/promises';
import { KIB } from '../../shared/limits.js';

const TAIL_BYTES = 8 * KIB;
const LAST_LINES = 5;

export class GatewayLogFile {
  /** Offset where the lines of the running gateway begin. */
  #begin = 0;

  constructor(readonly path: string) {}

  /** Opens the file for a gateway that is about to start. The caller closes it. */
  async openForNext(): Promise<FileHandle> {
    // Opened for appending: the gateway truncates its log, and must go on writing at the new end.
    const file = await open(this.path, 'a', 0o600);
    this.#begin = (await file.stat()).size;
    return file;
  }

  /** Returns the last lines of the latest gateway; empty if it wrote none. */
  async lastLines(): Promise<readonly string[]> {
    const size = await sizeOf(this.path);
    // A shorter file was truncated meanwhile.
    const begin = this.#begin > size ? 0 : this.#begin;
    const from = Math.max(begin, size - TAIL_BYTES);
    if (from === size) return [];
    const file = await open(this.path);
    try {
      const { buffer, bytesRead } = await file.read(Buffer.alloc(size - from), 0, size - from, from);
      const lines = buffer.toString('utf8', 0, bytesRead).split('\n');
      return lines.filter((line) => line.trim() !== '').slice(-LAST_LINES);
    } finally {
      await file.close().catch(() => undefined);
    }
  }
}

/** Returns the gateway's own message for people about its end; undefined if Node itself failed, or it was killed. */
export function fatalMessage(lines: readonly string[]): string | undefined {
  const said = /"level":60,.*"msg":("(?:[^"\\]|\\.)*")/.exec(lines.at(-1) ?? '')?.[1];
  return said === undefined ? undefined : (JSON.parse(said) as string);
}

const sizeOf = (path: string): Promise<number> =>
  stat(path).then(
    ({ size }) => size,
    () => 0,
  );

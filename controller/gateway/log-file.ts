/** What the gateway says, in its run folder: it keeps it within a bound itself; read when it has ended, because the last lines tell why. */
import { open, stat, type FileHandle } from 'node:fs/promises';
import { KIB } from '../../shared/limits.js';

const TAIL_BYTES = 8 * KIB;
const LAST_LINES = 5;

export class GatewayLogFile {
  /** Where the running gateway's lines begin. */
  #begin = 0;

  constructor(readonly path: string) {}

  /** For a gateway that is about to start. The caller closes it. */
  async openForNext(): Promise<FileHandle> {
    // Appended to, so that a log that begins anew in the middle does so for the gateway, too.
    const file = await open(this.path, 'a', 0o600);
    this.#begin = (await file.stat()).size;
    return file;
  }

  /** Of the latest gateway; none where it said nothing. */
  async lastLines(): Promise<readonly string[]> {
    const size = await sizeOf(this.path);
    // A log that is shorter than it was has begun anew meanwhile.
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

/** What a gateway that could not go on said for people; undefined where Node itself failed, or it was killed. */
export function fatalMessage(lines: readonly string[]): string | undefined {
  const said = /"level":60,.*"msg":("(?:[^"\\]|\\.)*")/.exec(lines.at(-1) ?? '')?.[1];
  return said === undefined ? undefined : (JSON.parse(said) as string);
}

const sizeOf = (path: string): Promise<number> =>
  stat(path).then(
    ({ size }) => size,
    () => 0,
  );

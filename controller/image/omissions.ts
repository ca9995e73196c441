/**
 * What an import leaves out of an archive, which tar does not tell of by itself: another tar lists the same bytes. Entries
 * below /dev are the runtime's; extended attributes, capabilities and access lists of files mean nothing in a node, which
 * has no way to gain a right.
 */
import { spawn } from 'node:child_process';
import { createInterface } from 'node:readline';

/** Mode with a mark for attributes, owner, size, date, time, name; a name has no line end in this quoting. */
const LINE = /^([a-zA-Z-])\S{9}([*+.]?)\s+\S+\s+\S+\s+\S+\s+\S+\s+(.*)$/;
const IN_DEV = /^(?:\.\/|\/)?dev\/./;

export class OmissionListing {
  /** For people, e.g. `entries in /dev: 2`; empty when there is nothing to tell. Never rejects. */
  readonly leftOut: Promise<string>;
  readonly #write: (data: string | Buffer) => Promise<void>;
  readonly #end: () => void;

  /** `decoder`: arguments that make tar undo the compression. */
  constructor(decoder: readonly string[], signal: AbortSignal) {
    const args = ['--list', '--verbose', '--numeric-owner', '--quoting-style=escape', '--xattrs', '--acls', ...decoder];
    const child = spawn('tar', args, { stdio: ['pipe', 'pipe', 'ignore'], signal });
    // It may end before its input does; an archive that is none is told of by the tar that unpacks it.
    child.stdin.on('error', () => undefined);
    child.once('error', () => undefined);
    this.#write = (data) =>
      new Promise((resolve) => {
        if (!child.stdin.writable) resolve();
        else child.stdin.write(data, () => resolve());
      });
    this.#end = () => child.stdin.end();
    const counts = new Map<string, number>();
    const lines = createInterface({ input: child.stdout });
    lines.on('line', (line) => {
      const what = omissionOf(line);
      if (what !== undefined) counts.set(what, (counts.get(what) ?? 0) + 1);
    });
    this.leftOut = new Promise((resolve) => {
      lines.once('close', () => resolve([...counts].map(([what, count]) => `${what}: ${count}`).join(', ')));
    });
  }

  /** Hands on what it reads. */
  async *listen(source: AsyncIterable<string | Buffer>): AsyncGenerator<string | Buffer> {
    try {
      for await (const data of source) {
        await this.#write(data);
        yield data;
      }
    } finally {
      this.#end();
    }
  }
}

/** Pure; of a line of `tar --list --verbose`. */
export function omissionOf(line: string): string | undefined {
  const [, , mark = '', name = ''] = LINE.exec(line) ?? [];
  if (IN_DEV.test(name)) return 'entries in /dev';
  return mark === '*' || mark === '+' ? 'attributes or access lists of files' : undefined;
}

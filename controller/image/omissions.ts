/**
 * Counts what an import leaves out of an archive. tar does not report it, so a second tar lists the same bytes. Entries
 * below /dev are the runtime's; extended attributes, capabilities and access lists of files mean nothing in a node,
 * which has no way to gain a right.
 */
import { createInterface } from 'node:readline';
import { startChild } from '../../shared/exec.js';
import { once, outcome } from '../../shared/async/wait.js';

/** Mode with a mark for attributes, owner, size, date, time, name; this quoting leaves no line end in names. */
const LINE = /^([a-zA-Z-])\S{9}([*+.]?)\s+\S+\s+\S+\s+\S+\s+\S+\s+(.*)$/;
const IN_DEV = /^(?:\.\/|\/)?dev\/./;

export class OmissionListing {
  /** For people, e.g. `entries in /dev: 2`; empty if nothing was left out. Never rejects. */
  readonly leftOut: Promise<string>;
  readonly #write: (data: string | Buffer) => Promise<void>;
  readonly #end: () => void;

  /** `decoder`: arguments for tar to decompress. */
  constructor(decoder: readonly string[], signal: AbortSignal) {
    const args = ['--list', '--verbose', '--numeric-owner', '--quoting-style=escape', '--xattrs', '--acls', ...decoder];
    const child = startChild('tar', args, { stdio: ['pipe', 'pipe', 'ignore'], signal });
    // It may end before its input does; a broken archive is reported by the tar that unpacks it.
    child.stdin.on('error', () => undefined);
    child.once('error', () => undefined);
    this.#write = (data) =>
      outcome((resolve) => {
        if (!child.stdin.writable) resolve();
        else child.stdin.write(data, () => resolve());
        return undefined;
      });
    this.#end = () => child.stdin.end();
    const counts = new Map<string, number>();
    const lines = createInterface({ input: child.stdout });
    lines.on('line', (line) => {
      const what = omissionOf(line);
      if (what !== undefined) counts.set(what, (counts.get(what) ?? 0) + 1);
    });
    this.leftOut = once(lines, 'close').then(() => [...counts].map(([what, count]) => `${what}: ${count}`).join(', '));
  }

  /** Passes on the bytes of `source`, and lists them on the way. */
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

/** Classifies a line of `tar --list --verbose`; undefined: nothing is left out. Pure. */
export function omissionOf(line: string): string | undefined {
  const [, , mark = '', name = ''] = LINE.exec(line) ?? [];
  if (IN_DEV.test(name)) return 'entries in /dev';
  return mark === '*' || mark === '+' ? 'attributes or access lists of files' : undefined;
}

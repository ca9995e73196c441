/**
 * Counts what an import leaves out of an archive. tar does not report it, so a second tar lists the same bytes. Entries
 * below /dev are the runtime's; extended attributes, capabilities and access lists of files are not unpacked, since a
 * program whose file names a capability that no command of a node has, as that of ping does, would not even start; and a
 * node has no owners above LARGEST_NODE_ID.
 */
import { createInterface } from 'node:readline';
import { startChild } from '../../shared/exec.js';
import { once, outcome } from '../../shared/async/wait.js';
import { LARGEST_NODE_ID } from '../../shared/limits.js';

/** Mode with a mark for attributes, owner, size, date, time, name; this quoting leaves no line end in names. */
const LINE = /^[a-zA-Z-]\S{9}([*+.]?)\s+(\d+)\/(\d+)\s+\S+\s+\S+\s+\S+\s+(.*)$/;
const IN_DEV = /^(?:\.\/|\/)?dev\/./;

export class OmissionListing {
  /** For people, e.g. `entries in /dev: 2`; empty if nothing was left out. Never rejects. */
  readonly leftOut: Promise<string>;
  readonly #write: (data: string | Buffer) => Promise<void>;
  readonly #end: () => void;

  /** `given`: arguments of tar that say how the archive is compressed, and where it is if it does not pass `listen`. */
  constructor(given: readonly string[], signal: AbortSignal) {
    const args = ['--list', '--verbose', '--numeric-owner', '--quoting-style=escape', '--xattrs', '--acls', ...given];
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
      for (const what of omissionsOf(line)) counts.set(what, (counts.get(what) ?? 0) + 1);
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

/** Classifies a line of `tar --list --verbose`; empty: nothing is left out. Pure. */
export function omissionsOf(line: string): readonly string[] {
  const [, mark = '', user = '0', group = '0', name = ''] = LINE.exec(line) ?? [];
  if (IN_DEV.test(name)) return ['entries in /dev'];
  return [
    ...(mark === '*' || mark === '+' ? ['attributes or access lists of files'] : []),
    ...(Number(user) > LARGEST_NODE_ID || Number(group) > LARGEST_NODE_ID ? [`owners above ${LARGEST_NODE_ID}`] : []),
  ];
}

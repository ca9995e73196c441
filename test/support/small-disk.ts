/** A small file system of a test's own, to be filled and freed; nothing of the host's disk is at stake. */
import { execFileSync } from 'node:child_process';
import { closeSync, mkdirSync, openSync, rmdirSync, statfsSync, writeSync } from 'node:fs';

/** Many more than writers can be in the way of. */
const FILL_ATTEMPTS = 100;

export class SmallDisk {
  readonly #size: string;

  constructor(
    readonly path: string,
    megabytes: number,
  ) {
    this.#size = `${megabytes}m`;
    mkdirSync(path);
    execFileSync('mount', ['-t', 'tmpfs', '-o', `size=${this.#size},mode=755`, 'nexus-test', path]);
  }

  /**
   * To the last byte: it is made as small as what lies on it. Whoever writes meanwhile has made it too small for that,
   * which is seen at once.
   */
  fill(): void {
    for (let attempt = 1; ; attempt += 1) {
      const { blocks, bfree, bsize } = statfsSync(this.path);
      try {
        // One block at least: 0 means no limit.
        this.#resize(String(Math.max(1, blocks - bfree) * bsize));
        return;
      } catch (error) {
        if (attempt === FILL_ATTEMPTS) throw error;
      }
    }
  }

  free(): void {
    this.#resize(this.#size);
  }

  remove(): void {
    // Lazy: a process that has just ended is gone a moment before the kernel has closed its files.
    execFileSync('umount', ['--lazy', this.path]);
    rmdirSync(this.path);
  }

  #resize(size: string): void {
    execFileSync('mount', ['-o', `remount,size=${size}`, this.path], { stdio: 'pipe' });
  }
}

/** Lets a file take all that its file system has left, whoever else takes some of it meanwhile. */
export function fillUp(filler: string): void {
  const file = openSync(filler, 'a');
  try {
    for (const bytes of [1 << 20, 1 << 12]) while (writes(file, Buffer.alloc(bytes, 1)));
  } finally {
    closeSync(file);
  }
}

/** A write that was cut short has filled the disk, too. */
function writes(file: number, data: Buffer): boolean {
  try {
    return writeSync(file, data) === data.length;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOSPC') return false;
    throw error;
  }
}

/** A small file system of a test's own, to be filled and freed; nothing of the host's disk is at stake. */
import { execFileSync } from 'node:child_process';
import { closeSync, mkdirSync, openSync, rmdirSync, rmSync, writeSync } from 'node:fs';
import { join } from 'node:path';

export class SmallDisk {
  readonly #filler: string;

  constructor(
    readonly path: string,
    megabytes: number,
  ) {
    mkdirSync(path);
    execFileSync('mount', ['-t', 'tmpfs', '-o', `size=${megabytes}m,mode=755`, 'nexus-test', path]);
    this.#filler = join(path, 'filler');
  }

  /** To the last byte. */
  fill(): void {
    fillUp(this.#filler);
  }

  free(): void {
    rmSync(this.#filler, { force: true });
  }

  remove(): void {
    // Lazy: a process that has just ended is gone a moment before the kernel has closed its files.
    execFileSync('umount', ['--lazy', this.path]);
    rmdirSync(this.path);
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

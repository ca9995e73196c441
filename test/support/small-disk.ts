/** A small file system of a test's own, to be filled and freed; nothing of the host's disk is at stake. */
import { execFileSync } from 'node:child_process';
import { closeSync, mkdirSync, openSync, rmdirSync, rmSync, statfsSync, writeSync } from 'node:fs';
import { join } from 'node:path';

const BLOCK_BYTES = 4096;

/**
 * An ext4 on a loop device, as a disk of a host. A tmpfs would not do below volumes: of a write that finds room for its
 * beginning alone their loop devices would say that it has succeeded.
 */
export class SmallDisk {
  readonly #image: string;
  readonly #filler: string;

  constructor(
    readonly path: string,
    megabytes: number,
  ) {
    this.#image = `${path}.img`;
    this.#filler = join(path, 'filler');
    mkdirSync(path);
    execFileSync('truncate', ['--size', `${megabytes}M`, this.#image]);
    execFileSync('mkfs.ext4', ['-q', '-F', '-m', '0', '-b', String(BLOCK_BYTES), this.#image], { stdio: 'pipe' });
    execFileSync('mount', ['-o', 'loop', this.#image, path]);
  }

  /** To the last block, without writing any. */
  fill(): void {
    const { bavail, bsize } = statfsSync(this.path);
    let offset = 0;
    for (let bytes = Math.max(BLOCK_BYTES, bavail * bsize); bytes >= BLOCK_BYTES;) {
      if (this.#takes(offset, bytes)) offset += bytes;
      else bytes = Math.floor(bytes / 2 / BLOCK_BYTES) * BLOCK_BYTES;
    }
  }

  free(): void {
    rmSync(this.#filler, { force: true });
  }

  remove(): void {
    // Lazy: a process that has just ended is gone a moment before the kernel has closed its files.
    execFileSync('umount', ['--lazy', this.path]);
    rmdirSync(this.path);
    rmSync(this.#image);
  }

  #takes(offset: number, bytes: number): boolean {
    try {
      execFileSync('fallocate', ['--offset', String(offset), '--length', String(bytes), this.#filler], {
        stdio: 'pipe',
      });
      return true;
    } catch (error) {
      const said = String((error as { stderr?: Buffer }).stderr);
      if (said.includes('No space left on device')) return false;
      throw error;
    }
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

/** Reads which loop devices of the host are attached, and to what. Nothing here changes one. */
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { runCommand } from '../../../shared/exec.js';

/** Synchronous: one small kernel file, polled while a volume is being released. */
export const isAttached = (loopDevice: number): boolean => backingFile(`loop${loopDevice}`) !== undefined;

/**
 * Whether there is anything that needs a closer look, which costs a process: the device is attached, or any device to a
 * file of this path, or of a path that is none of the host's, as the devices of nodes of version 0.1 have.
 */
export function mayBeAttached(loopDevice: number, path: string): boolean {
  return readdirSync('/sys/block').some((name) => {
    if (!name.startsWith('loop')) return false;
    const backing = backingFile(name);
    return backing !== undefined && (name === `loop${loopDevice}` || backing === path || !existsSync(backing));
  });
}

function backingFile(device: string): string | undefined {
  try {
    return readFileSync(`/sys/block/${device}/loop/backing_file`, 'utf8').trimEnd();
  } catch {
    return undefined;
  }
}

interface AttachedLoop {
  readonly name: string;
  readonly inode: number;
  /** Device of the file system that holds the inode: `major:minor`. */
  readonly fileSystem: string;
}

/** Compares inodes, not paths: a volume attached inside a node has no path visible to the host. */
export function holds(loop: AttachedLoop, image: { readonly ino: number; readonly dev: number }): boolean {
  return loop.inode === image.ino && loop.fileSystem === deviceName(image.dev);
}

/** Formats a device number as losetup does; the kernel packs major and minor in its own way. */
const deviceName = (dev: number): string => {
  const major = (dev >> 8) & 0xfff;
  const minor = (dev & 0xff) | ((dev >> 12) & 0xfff00);
  return `${major}:${minor}`;
};

export async function attachedLoops(): Promise<AttachedLoop[]> {
  const { stdout } = await runCommand('losetup', ['--list', '--json', '--output', 'NAME,BACK-INO,BACK-MAJ:MIN'], {
    failure: 'the loop devices of this machine cannot be listed',
  });
  if (stdout.trim() === '') return [];
  const parsed = JSON.parse(stdout) as { loopdevices: { name: string; 'back-ino': number; 'back-maj:min': string }[] };
  return parsed.loopdevices.map((loop) => ({
    name: loop.name,
    inode: loop['back-ino'],
    fileSystem: loop['back-maj:min'].trim(),
  }));
}

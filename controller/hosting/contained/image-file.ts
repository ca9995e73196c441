/**
 * Volumes as sparse image files with ext4, <state>/volumes/<id>.img. The file system's UUID is the volume's name: the
 * first stage mounts nothing else. The host never mounts one; a loop device exists only while the node's agent has it.
 */
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { mkdir, open, realpath, rm, stat, statfs } from 'node:fs/promises';
import { join } from 'node:path';
import { until } from '../../../shared/async/wait.js';
import { NexusError } from '../../../shared/errors.js';
import { runCommand, tryCommand } from '../../../shared/exec.js';
import { MIB } from '../../../shared/limits.js';
import type { NodeId } from '../../../shared/ids.js';
import { readCards, removeCard, writeCard } from '../volume-cards.js';
import { noRoom, volumeExists, volumeIsGone } from '../volume-errors.js';
import { deviceOf, type VolumePlace, type VolumeProvisioner, type VolumeRoom, type VolumeSpec } from '../volumes.js';

/** Unmounting flushes the volume, which a slow disk may take long for. */
const RELEASE_TIMEOUT_MS = 30_000;
/** Kept free for the host when a volume's full size is checked against the free disk. */
const HOST_RESERVE_BYTES = 256 * MIB;
/** LOOP_CTL_REMOVE, linux/loop.h. */
const LOOP_CTL_REMOVE = 0x4c81;

export class ImageFileVolumes implements VolumeProvisioner {
  constructor(private readonly folder: string) {}

  pathOf(nodeId: NodeId): string {
    return join(this.folder, `${nodeId}.img`);
  }

  async create(spec: VolumeSpec, signal: AbortSignal): Promise<void> {
    const room = await this.room();
    if (spec.sizeBytes > room.freeBytes) throw noRoom(spec.sizeBytes, room);
    const path = this.pathOf(spec.nodeId);
    const file = await open(path, 'wx', 0o600).catch((error: unknown) => {
      throw volumeExists(path, error);
    });
    try {
      await file.truncate(spec.sizeBytes);
    } finally {
      await file.close().catch(() => undefined);
    }
    // No blocks for root alone: the agent is not root and the volume is all its own. Lazy tables keep it sparse and fast.
    const options = ['-q', '-F', '-m', '0', '-U', spec.uuid, '-E', 'lazy_itable_init=1,lazy_journal_init=1,nodiscard'];
    await runCommand('mkfs.ext4', [...options, path], { signal, failure: 'its volume cannot be formatted' });
  }

  async assertFree(place: VolumePlace): Promise<void> {
    const loopDevice = deviceOf(place);
    const path = this.pathOf(place.nodeId);
    const image = await stat(path).catch((error: unknown) => {
      throw volumeIsGone(path, error);
    });
    if (!mayBeAttached(loopDevice, await realpath(path))) return;
    for (const loop of await attachedLoops()) {
      if (holds(loop, image)) {
        throw new NexusError('failed_precondition', `the volume is still attached as ${loop.name}`);
      }
      if (loop.name === `/dev/loop${loopDevice}`) {
        throw new NexusError(
          'failed_precondition',
          `${loop.name} is in use by something else; set loop-base to another range`,
        );
      }
    }
  }

  async waitReleased(place: VolumePlace): Promise<void> {
    const { nodeId } = place;
    const loopDevice = deviceOf(place);
    if (!isAttached(loopDevice)) {
      await removeLoopDevice(loopDevice);
      return;
    }
    if (await this.#isForeign(nodeId, loopDevice)) return;
    await this.#detachLeftover(nodeId, loopDevice);
    if (!(await until(() => !isAttached(loopDevice), { everyMs: 5, withinMs: RELEASE_TIMEOUT_MS }))) {
      throw new NexusError(
        'deadline_exceeded',
        `loop${loopDevice} still holds the volume of ${nodeId} after ${RELEASE_TIMEOUT_MS} ms`,
      );
    }
    await removeLoopDevice(loopDevice);
  }

  /**
   * Detaches the device if a first stage was killed between attaching and mounting it: nothing else would. A device
   * that is still mounted is not affected: the kernel releases it with the last process that uses it.
   */
  async #detachLeftover(nodeId: NodeId, loopDevice: number): Promise<void> {
    const image = await stat(this.pathOf(nodeId)).catch(() => undefined);
    const name = `/dev/loop${loopDevice}`;
    const isOurs = (await attachedLoops()).some((loop) => loop.name === name && loop.inode === image?.ino);
    // Fails if the kernel was quicker; the caller checks again anyway.
    if (isOurs) await tryCommand('losetup', ['--detach', name]);
  }

  async remove(place: VolumePlace): Promise<void> {
    const { nodeId } = place;
    await rm(this.pathOf(nodeId), { force: true });
    await removeCard(this.folder, nodeId);
    await removeLoopDevice(deviceOf(place));
  }

  async describe(nodeId: NodeId, card: string): Promise<void> {
    const path = this.pathOf(nodeId);
    await stat(path).catch((error: unknown) => {
      throw volumeIsGone(path, error);
    });
    await writeCard(this.folder, nodeId, card);
    // The volume may have been removed meanwhile.
    if (!existsSync(this.pathOf(nodeId))) await removeCard(this.folder, nodeId);
  }

  async described(): Promise<readonly { nodeId: NodeId; card: string }[]> {
    return (await readCards(this.folder)).filter(({ nodeId }) => existsSync(this.pathOf(nodeId)));
  }

  /** Whether the device holds something else. A deleted image may still be attached: it counts as ours. */
  async #isForeign(nodeId: NodeId, loopDevice: number): Promise<boolean> {
    const image = await stat(this.pathOf(nodeId)).catch(() => undefined);
    const loop = (await attachedLoops()).find((candidate) => candidate.name === `/dev/loop${loopDevice}`);
    return image !== undefined && loop !== undefined && !holds(loop, image);
  }

  async room(): Promise<VolumeRoom> {
    await mkdir(this.folder, { recursive: true, mode: 0o700 });
    const { bavail, bsize } = await statfs(this.folder);
    const freeBytes = Math.max(0, bavail * bsize - HOST_RESERVE_BYTES);
    return { folder: this.folder, freeBytes, keptBytes: HOST_RESERVE_BYTES };
  }
}

/** Synchronous: one small kernel file, polled while a volume is being released. */
const isAttached = (loopDevice: number): boolean => backingFile(`loop${loopDevice}`) !== undefined;

/**
 * Whether there is anything that needs a closer look, which costs a process: the device is attached, or any device to a
 * file of this path, or of a path that is none of the host's, as the devices of nodes of version 0.1 have.
 */
function mayBeAttached(loopDevice: number, path: string): boolean {
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
function holds(loop: AttachedLoop, image: { readonly ino: number; readonly dev: number }): boolean {
  return loop.inode === image.ino && loop.fileSystem === deviceName(image.dev);
}

/** Formats a device number as losetup does; the kernel packs major and minor in its own way. */
const deviceName = (dev: number): string => {
  const major = (dev >> 8) & 0xfff;
  const minor = (dev & 0xff) | ((dev >> 12) & 0xfff00);
  return `${major}:${minor}`;
};

async function attachedLoops(): Promise<AttachedLoop[]> {
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

/**
 * Removes the device node, which the kernel otherwise keeps after detaching. No command does so, hence the ioctl in
 * perl. The device is briefly busy while another process reads it (as every `losetup --list` on the host does).
 */
async function removeLoopDevice(loopDevice: number): Promise<void> {
  if (!existsSync(`/sys/block/loop${loopDevice}`)) return;
  const script = [
    'open(my $control, "+<", "/dev/loop-control") or exit 1;',
    'for (1 .. 100) {',
    '  exit 0 if ioctl($control, $ARGV[0], int($ARGV[1])) || !$!{EBUSY};',
    '  select(undef, undef, undef, 0.02);',
    '}',
    'exit 2;',
  ].join('\n');
  // Not fatal: a device node without a backing file costs nothing.
  await tryCommand('perl', ['-MErrno', '-e', script, String(LOOP_CTL_REMOVE), String(loopDevice)]);
}

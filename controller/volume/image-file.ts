/**
 * Volumes as sparse image files with ext4, <state>/volumes/<id>.img. The file system's UUID is the volume's name: the
 * first stage mounts nothing else. The host never mounts one; a loop device exists only while the node's agent has it.
 */
import { readFileSync } from 'node:fs';
import { mkdir, open, rm, stat, statfs } from 'node:fs/promises';
import { join } from 'node:path';
import { NexusError } from '../../shared/errors.js';
import { runCommand, tryCommand } from '../../shared/exec.js';
import { MIB } from '../../shared/limits.js';
import type { NodeId } from '../../shared/ids.js';
import type { VolumeProvisioner, VolumeSpec } from './port.js';

/** Unmounting flushes the volume; a slow disk may take its time. */
const RELEASE_TIMEOUT_MS = 30_000;
/** Left to the host when a volume's full size is checked against the free disk. */
const HOST_RESERVE_BYTES = 256 * MIB;
/** LOOP_CTL_REMOVE, linux/loop.h. */
const LOOP_CTL_REMOVE = 0x4c81;

export class ImageFileVolumes implements VolumeProvisioner {
  readonly usesLoopDevices = true;

  constructor(private readonly folder: string) {}

  pathOf(nodeId: NodeId): string {
    return join(this.folder, `${nodeId}.img`);
  }

  async create(spec: VolumeSpec, signal: AbortSignal): Promise<void> {
    await mkdir(this.folder, { recursive: true, mode: 0o700 });
    const path = this.pathOf(spec.nodeId);
    const file = await open(path, 'wx', 0o600);
    try {
      await file.truncate(spec.sizeBytes);
    } finally {
      await file.close();
    }
    // No blocks for root alone: the agent is not root and the volume is all its own. Lazy tables keep it sparse and fast.
    const options = ['-q', '-F', '-m', '0', '-U', spec.uuid, '-E', 'lazy_itable_init=1,lazy_journal_init=1,nodiscard'];
    await runCommand('mkfs.ext4', [...options, path], { signal });
  }

  async assertFree(nodeId: NodeId, loopDevice: number): Promise<void> {
    const image = await stat(this.pathOf(nodeId)).catch((error: unknown) => {
      throw new NexusError('data_loss', `the volume ${this.pathOf(nodeId)} is gone`, {}, { cause: error });
    });
    for (const loop of await attachedLoops()) {
      // By inode, not by path: a volume attached inside a node has no path that the host could see.
      if (loop.inode === image.ino) {
        throw new NexusError('failed_precondition', `the volume is still attached as ${loop.name}`);
      }
      if (loop.name === `/dev/loop${loopDevice}`) {
        throw new NexusError(
          'failed_precondition',
          `${loop.name} is taken by something else; set loop-base to another range`,
        );
      }
    }
  }

  async waitReleased(nodeId: NodeId, loopDevice: number): Promise<void> {
    const deadline = performance.now() + RELEASE_TIMEOUT_MS;
    while (isAttached(loopDevice)) {
      if (performance.now() > deadline) {
        throw new NexusError(
          'deadline_exceeded',
          `loop${loopDevice} still holds the volume of ${nodeId} after ${RELEASE_TIMEOUT_MS} ms`,
        );
      }
      await new Promise((resolve) => setTimeout(resolve, 5));
    }
  }

  async remove(nodeId: NodeId, loopDevice: number): Promise<void> {
    await rm(this.pathOf(nodeId), { force: true });
    if (loopDevice >= 0) await removeLoopDevice(loopDevice);
  }

  async freeBytes(): Promise<number> {
    await mkdir(this.folder, { recursive: true, mode: 0o700 });
    const { bavail, bsize } = await statfs(this.folder);
    return Math.max(0, bavail * bsize - HOST_RESERVE_BYTES);
  }
}

/** Read without a promise: it is one small kernel file, asked again and again while a volume is let go. */
function isAttached(loopDevice: number): boolean {
  try {
    readFileSync(`/sys/block/loop${loopDevice}/loop/backing_file`);
    return true;
  } catch {
    return false;
  }
}

interface AttachedLoop {
  readonly name: string;
  readonly inode: number;
}

async function attachedLoops(): Promise<AttachedLoop[]> {
  const { stdout } = await runCommand('losetup', ['--list', '--json', '--output', 'NAME,BACK-INO']);
  if (stdout.trim() === '') return [];
  const parsed = JSON.parse(stdout) as { loopdevices: { name: string; 'back-ino': number }[] };
  return parsed.loopdevices.map((loop) => ({ name: loop.name, inode: loop['back-ino'] }));
}

/**
 * The kernel keeps a detached device's node until told otherwise; there is no command for it, so perl makes the ioctl.
 * While somebody looks at the device (as every `losetup --list` on the host does) it is busy, for moments only.
 */
async function removeLoopDevice(loopDevice: number): Promise<void> {
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

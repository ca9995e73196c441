/**
 * Free room on the host's disks for Nexus's files: state, volumes, runtime. Volumes are sparse files, so the room that
 * they promise their nodes depends on the host's disk. This computes how much of a promise can be kept, and warns
 * before a disk is full.
 */
import { statSync } from 'node:fs';
import { stat, statfs } from 'node:fs/promises';
import { formatBytes } from '../../shared/format-bytes.js';
import { GIB, MIB } from '../../shared/limits.js';
import type { NodeId } from '../../shared/ids.js';

/** Kept for the databases, logs and the volumes' own metadata when room is promised to chunks. */
const RESERVE_BYTES = 64 * MIB;
/** A node's start writes less than this. */
const FULL_BYTES = 4 * MIB;
/** A large disk that is nearly full by percentage may still have plenty of room. */
const PLENTY_BYTES = 10 * GIB;

export interface DiskRoom {
  /** Names of the places on this disk: state, volumes, runtime. */
  readonly places: readonly string[];
  readonly path: string;
  readonly totalBytes: number;
  readonly freeBytes: number;
  /** 0: the file system has no fixed number of inodes. */
  readonly totalInodes: number;
  readonly freeInodes: number;
}

/** A volume's image, and the part of it that the host has not allocated yet. */
export interface SparseVolume {
  readonly nodeId: NodeId;
  readonly unallocatedBytes: number;
}

export interface HostRoomOptions {
  /** Paths by name, in the order in which warnings name them. */
  readonly places: Readonly<Record<string, string>>;
  /** Paths of the volumes that are sparse files. */
  readonly volumes: () => readonly { readonly nodeId: NodeId; readonly path: string }[];
  readonly fullPercent: number;
}

export class HostRoom {
  #disks: readonly DiskRoom[] = [];
  #limits: ReadonlyMap<NodeId, number> = new Map();

  constructor(private readonly options: HostRoomOptions) {}

  /** Measures the disks. Leaves out places that can't be read, such as folders not made yet. */
  async tick(): Promise<void> {
    this.#disks = await measure(this.options.places);
    const volumes = this.options.volumes().flatMap(unallocated);
    const disk = this.#disks.find(({ places }) => places.includes('volumes'));
    this.#limits = disk === undefined ? new Map() : planLimits(disk.freeBytes, volumes);
  }

  get disks(): readonly DiskRoom[] {
    return this.#disks;
  }

  /**
   * Bytes that the host can still allocate to the node's volume, whatever its file system promises; Infinity: no limit.
   */
  of(node: NodeId): number {
    return this.#limits.get(node) ?? Infinity;
  }

  /** Whether one of the disks is full, so that work on nodes would only fail. */
  get isFull(): boolean {
    return this.#disks.some(
      ({ freeBytes, totalInodes, freeInodes }) => freeBytes < FULL_BYTES || (totalInodes > 0 && freeInodes === 0),
    );
  }

  get warnings(): string[] {
    return this.#disks.flatMap((disk) => roomWarning(disk, this.options.fullPercent));
  }
}

/**
 * Volumes that are allocated already, or that the host has room for, are not limited. Others share the free room, so
 * that no more than that is promised in total. Pure.
 */
export function planLimits(freeBytes: number, volumes: readonly SparseVolume[]): ReadonlyMap<NodeId, number> {
  const left = Math.max(0, freeBytes - RESERVE_BYTES);
  const wanting = volumes.filter(({ unallocatedBytes }) => unallocatedBytes > 0);
  const wanted = wanting.reduce((sum, { unallocatedBytes }) => sum + unallocatedBytes, 0);
  if (wanted <= left) return new Map();
  return new Map(wanting.map(({ nodeId }) => [nodeId, Math.floor(left / wanting.length)]));
}

/** Pure. */
export function roomWarning(disk: DiskRoom, fullPercent: number): string[] {
  const what = `the host's disk under ${disk.path} (${disk.places.join(', ')})`;
  const advice =
    'make room on it: when it is full, changes and uploads fail; nothing ends, and everything continues when there is room again';
  const usedBytes = percentOf(disk.totalBytes - disk.freeBytes, disk.totalBytes);
  const usedInodes = percentOf(disk.totalInodes - disk.freeInodes, disk.totalInodes);
  return [
    ...(usedBytes >= fullPercent && disk.freeBytes < PLENTY_BYTES
      ? [`${what} is ${usedBytes} % full, ${formatBytes(disk.freeBytes)} are free; ${advice}`]
      : []),
    ...(usedInodes >= fullPercent
      ? [`${what} has used ${usedInodes} % of its inodes, ${disk.freeInodes} are free; remove files; ${advice}`]
      : []),
  ];
}

const percentOf = (part: number, whole: number): number => (whole === 0 ? 0 : Math.floor((part * 100) / whole));

/** Places on the same file system are one disk. */
async function measure(places: Readonly<Record<string, string>>): Promise<DiskRoom[]> {
  const disks = new Map<number, DiskRoom>();
  for (const [name, path] of Object.entries(places)) {
    try {
      const { dev } = await stat(path);
      const { bsize, blocks, bfree, bavail, files, ffree } = await statfs(path);
      const seen = disks.get(dev);
      disks.set(dev, {
        places: [...(seen?.places ?? []), name],
        path: seen?.path ?? path,
        // Count only what all users may use: the file system reserves the rest for root, which is this process but no
        // agent.
        totalBytes: (blocks - bfree + bavail) * bsize,
        freeBytes: bavail * bsize,
        totalInodes: files,
        freeInodes: ffree,
      });
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'ENOENT') throw error;
    }
  }
  return [...disks.values()];
}

/** Looks at once: the kernel has the inode of a mounted image, and a detour over other threads costs ten times that. */
function unallocated({ nodeId, path }: { nodeId: NodeId; path: string }): SparseVolume[] {
  try {
    const image = statSync(path);
    return image.isFile() ? [{ nodeId, unallocatedBytes: Math.max(0, image.size - image.blocks * 512) }] : [];
  } catch {
    return [];
  }
}

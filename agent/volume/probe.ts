/**
 * Tries a volume. It writes to a file that exists already, so that trying needs neither a free block nor a free inode
 * and gives the same result on a full volume.
 */
import { constants, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { systemClock } from '../../shared/async/clock.js';
import { errnoOf } from '../../shared/errors.js';
import { MIB } from '../../shared/limits.js';
import { VOLUME_OK, type VolumeCondition } from '../../shared/volume-state.js';
import type { VolumeUsage } from './port.js';
import { openOwn, openRegular } from './regular-file.js';

const RECORD_BYTES = 512;

/** Kept free for sidecars, folders, the journal and the agent's own files, so that a volume full of chunks still works. */
export const RESERVED_BYTES = MIB;
export const RESERVED_INODES = 32;

export interface Prober {
  /** State of the mount, from the mount table: cheap, without touching the volume. undefined: nothing bad. */
  flags(): 'read-only' | 'shut down' | undefined;
  /** Writes a record, makes it durable and reads it back. Throws the system's error. */
  write(): Promise<void>;
  /** Reads the record. Throws the system's error. */
  read(): Promise<void>;
}

/** `folder` is the agent's own on the volume. */
export class FileProber implements Prober {
  readonly #path: string;

  constructor(
    private readonly dataDir: string,
    private readonly mountTable = '/proc/self/mountinfo',
  ) {
    this.#path = join(dataDir, '.agent', 'probe');
  }

  flags(): 'read-only' | 'shut down' | undefined {
    return flagsOf(this.#mounts(), this.dataDir);
  }

  /** Read at once: the table is the kernel's memory, whatever the volume does, and six detours over other threads. */
  #mounts(): string {
    try {
      return readFileSync(this.mountTable, 'utf8');
    } catch {
      return '';
    }
  }

  async write(): Promise<void> {
    const { file } = await openOwn(this.#path);
    try {
      const record = Buffer.alloc(RECORD_BYTES, `${systemClock.now()}\n`);
      await file.write(record, 0, RECORD_BYTES, 0);
      await file.sync();
      await file.read(record, 0, RECORD_BYTES, 0);
    } finally {
      await file.close().catch(() => undefined);
    }
  }

  /** Any file of the volume does: a file system that was shut down refuses to open one. */
  async read(): Promise<void> {
    const { file } = await openRegular(this.#path, constants.O_RDONLY);
    try {
      await file.read(Buffer.alloc(RECORD_BYTES), 0, RECORD_BYTES, 0);
    } finally {
      await file.close().catch(() => undefined);
    }
  }
}

/** State of the mount that holds `path`. Pure; `mountInfo` is the text of /proc/self/mountinfo. */
export function flagsOf(mountInfo: string, path: string): 'read-only' | 'shut down' | undefined {
  const [, , , , , own = '', ...rest] = mountAt(mountInfo, path) ?? mountAbove(mountInfo, path) ?? [];
  const options = [...own.split(','), ...(rest.at(-1) ?? '').split(',')];
  if (options.includes('shutdown')) return 'shut down';
  // After an error, a file system shows emergency_ro since kernel 6.15, and ro before.
  return options.some((option) => option === 'ro' || option === 'emergency_ro') ? 'read-only' : undefined;
}

/** Index of the mount point in a line of the table. */
const POINT = 4;

/** The last mount at `path` itself, without taking the other lines apart: a node has forty, and they are read for ever. */
function mountAt(mountInfo: string, path: string): readonly string[] | undefined {
  const at = mountInfo.lastIndexOf(` ${path} `);
  if (at < 0) return undefined;
  const end = mountInfo.indexOf('\n', at);
  const fields = mountInfo.slice(mountInfo.lastIndexOf('\n', at) + 1, end < 0 ? undefined : end).split(' ');
  return fields[POINT] === path ? fields : undefined;
}

function mountAbove(mountInfo: string, path: string): readonly string[] | undefined {
  let best: readonly string[] | undefined;
  let longest = 0;
  for (const line of mountInfo.split('\n')) {
    const fields = line.split(' ');
    const point = fields[POINT] ?? '';
    const isAbove = path === point || path.startsWith(point === '/' ? '/' : `${point}/`);
    // Where several mounts share a mount point, the last one is on top.
    if (point !== '' && isAbove && point.length >= longest) {
      best = fields;
      longest = point.length;
    }
  }
  return best;
}

const said = (error: unknown): string => {
  return errnoOf(error) ?? (error instanceof Error ? error.message : String(error));
};

/**
 * Examines the volume once. `writes`: also tries to write to it, which costs a flush. Undefined: it failed for a reason
 * that has nothing to do with the volume.
 */
export async function examine(
  prober: Prober,
  usage: () => Promise<VolumeUsage>,
  writes: boolean,
): Promise<VolumeCondition | undefined> {
  const flags = prober.flags();
  if (flags !== undefined) {
    const what = flags === 'shut down' ? 'its file system was shut down' : 'its file system is mounted read-only';
    return await readableOr(prober, what);
  }
  const figures = usage();
  // Reported below, unless the write fails first.
  figures.catch(() => undefined);
  try {
    if (writes) await prober.write();
    return fullness(await figures);
  } catch (error) {
    const errno = said(error);
    if (errno === 'EMFILE' || errno === 'ENFILE') return undefined;
    if (errno === 'ENOSPC' || errno === 'EDQUOT') return { state: 'full', reason: `writing fails: ${errno}` };
    return await readableOr(prober, `writing fails: ${errno}`);
  }
}

async function readableOr(prober: Prober, what: string): Promise<VolumeCondition> {
  try {
    await prober.read();
    return { state: 'read-only', reason: what };
  } catch (error) {
    return { state: 'failing', reason: `${what}; reading fails: ${said(error)}` };
  }
}

function fullness({ freeBytes, totalInodes, freeInodes }: VolumeUsage): VolumeCondition {
  if (totalInodes > 0 && freeInodes < RESERVED_INODES) return { state: 'full', reason: 'it has no free inodes' };
  return freeBytes < RESERVED_BYTES ? { state: 'full', reason: 'it has no free bytes' } : VOLUME_OK;
}

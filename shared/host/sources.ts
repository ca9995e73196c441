/**
 * Sources that the probes read. What can only be found by trial (a bridge, a veth pair) is tried in a network namespace
 * of its own that ends with the trial, so the host stays unchanged. Tests pass recorded answers.
 */
import { access, readdir, readFile, stat, statfs } from 'node:fs/promises';
import { dirname } from 'node:path';
import { toNexusError } from '../errors.js';
import { tryCommand } from '../exec.js';

export interface ProgramAnswer {
  readonly exitCode: number;
  /** Standard output and error, trimmed. */
  readonly output: string;
}

export interface HostSources {
  readonly uid: number;
  /** As process.versions.node. */
  readonly nodeVersion: string;
  /** Undefined when there is no such file, or when it can't be read. */
  readText(path: string): Promise<string | undefined>;
  /** Names in a folder; empty when there is none. */
  list(path: string): Promise<readonly string[]>;
  exists(path: string): Promise<boolean>;
  /** Undefined when there is no such file, or when this user may not access it. */
  inode(path: string): Promise<number | undefined>;
  /** Undefined when there is no such program; exit code NO_ANSWER when it does not end within a minute. */
  run(program: string, args: readonly string[]): Promise<ProgramAnswer | undefined>;
  /** The disk where the path is, or where it would be made; bytes that are free for this user. */
  disk(path: string): Promise<{ readonly freeBytes: number; readonly isInMemory: boolean }>;
}

/** Exit code of timeout(1) when the time is up. */
export const NO_ANSWER = 124;

/** Programs run concurrently: on a busy machine with an emulated processor the last one took more than 30 s. */
const PROGRAM_TIMEOUT_MS = 60_000;

/** This host. */
/** TMPFS_MAGIC, linux/magic.h. */
const TMPFS = 0x01021994;

export function systemSources(): HostSources {
  return {
    uid: process.getuid?.() ?? 0,
    nodeVersion: process.versions.node,
    readText: async (path) => await readFile(path, 'utf8').catch(() => undefined),
    list: async (path) => await readdir(path).catch(() => []),
    exists,
    inode: async (path) => (await stat(path).catch(() => undefined))?.ino,
    run,
    disk: async (path) => {
      let place = path;
      while (!(await exists(place))) place = dirname(place);
      const { bavail, bsize, type } = await statfs(place);
      return { freeBytes: bavail * bsize, isInMemory: type === TMPFS };
    },
  };
}

const exists = async (path: string): Promise<boolean> =>
  await access(path).then(
    () => true,
    () => false,
  );

async function run(program: string, args: readonly string[]): Promise<ProgramAnswer | undefined> {
  // Users' paths often lack the folders where ip, losetup and mkfs are.
  const env = { ...process.env, LC_ALL: 'C', PATH: `${process.env['PATH'] ?? ''}:/usr/local/sbin:/usr/sbin:/sbin` };
  try {
    const { exitCode, stdout, stderr } = await tryCommand(program, args, { timeoutMs: PROGRAM_TIMEOUT_MS, env });
    return { exitCode, output: `${stdout}${stderr}`.trim() };
  } catch (error) {
    return toNexusError(error).code === 'deadline_exceeded' ? { exitCode: NO_ANSWER, output: '' } : undefined;
  }
}

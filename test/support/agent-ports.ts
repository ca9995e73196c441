/** Each implementation of the agent's ports: volumes of 16 MiB that can be filled, and cgroups that can be recorded. */
import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { FakeCgroup } from '../fakes/cgroup.js';
import { cgroupReader, type CgroupReader } from '../../agent/usage.js';
import { NO_USAGE } from '../../shared/cgroup/figures.js';
import type { CgroupLayout } from '../../shared/cgroup/layout.js';
import { DirectoryVolume } from '../../agent/volume/directory.js';
import { FakeVolume } from '../fakes/agent-volume.js';
import { MountedVolume } from '../../agent/volume/mounted.js';
import type { Volume } from '../../agent/volume/port.js';
import { NexusError } from '../../shared/errors.js';
import { runCommand } from '../../shared/exec.js';
import { MIB } from '../../shared/limits.js';
import { residueOf, testInstance } from './residue.js';

export const VOLUME_BYTES = 16 * MIB;

export interface OpenedAgentVolume {
  readonly volume: Volume;
  /** Stores so many bytes, as far as they fit. */
  store(bytes: number): Promise<void>;
  /** Takes the volume away from under its user. */
  lose(): Promise<void>;
  dispose(): Promise<string[]>;
}

export interface AgentVolumeVariant {
  readonly name: string;
  readonly needsRoot: boolean;
  open(): Promise<OpenedAgentVolume>;
}

const inMemory: AgentVolumeVariant = {
  name: 'in memory',
  needsRoot: false,
  open: async () => {
    const volume = new FakeVolume('/data', VOLUME_BYTES);
    return {
      volume,
      store: async (bytes) => {
        volume.usedBytes = Math.min(VOLUME_BYTES, volume.usedBytes + bytes);
      },
      lose: async () => volume.script.failNext('volume.usage', 1, new NexusError('not_found', 'the volume is gone')),
      dispose: async () => [],
    };
  },
};

const directory: AgentVolumeVariant = {
  name: 'directory',
  needsRoot: false,
  open: async () => {
    const folder = await mkdtemp(join(tmpdir(), 'nexus-volume-'));
    let stored = 0;
    const remove = (): Promise<void> => rm(folder, { recursive: true, force: true });
    return {
      volume: new DirectoryVolume(folder, VOLUME_BYTES, () => stored),
      store: async (bytes) => {
        stored += bytes;
      },
      lose: remove,
      dispose: async () => {
        await remove();
        return [];
      },
    };
  },
};

/** A tmpfs has a size and counts like any other file system, and leaves no device behind. */
const mounted: AgentVolumeVariant = {
  name: 'mounted',
  needsRoot: true,
  open: async () => {
    const instance = testInstance();
    const folder = await mkdtemp(join(tmpdir(), `nexus-${instance}-`));
    const dataDir = join(folder, 'data');
    await mkdir(dataDir);
    await runCommand('mount', ['-t', 'tmpfs', '-o', `size=${VOLUME_BYTES}`, instance, dataDir]);
    let isThere = true;
    let files = 0;
    const lose = async (): Promise<void> => {
      if (isThere) await runCommand('umount', [dataDir]);
      isThere = false;
      await rm(folder, { recursive: true, force: true });
    };
    return {
      volume: new MountedVolume(dataDir),
      store: async (bytes) => {
        files += 1;
        await writeFile(join(dataDir, `file-${files}`), Buffer.alloc(bytes)).catch(unlessFull);
      },
      lose,
      dispose: async () => {
        await lose();
        return residueOf(instance);
      },
    };
  },
};

function unlessFull(error: NodeJS.ErrnoException): void {
  if (error.code !== 'ENOSPC') throw error;
}

export const AGENT_VOLUMES: readonly AgentVolumeVariant[] = [inMemory, directory, mounted];

/** What the kernel counts; left out: it does not tell. */
export interface Counted {
  readonly memory?: string;
  readonly pageCache?: string;
  readonly memoryLimit?: string;
  readonly cpuUsec?: string;
  readonly pids?: string;
}

export interface OpenedCgroup {
  readonly reader: CgroupReader;
  record(counted: Counted): Promise<void>;
  dispose(): Promise<void>;
}

export interface CgroupVariant {
  readonly name: string;
  /** What the kernel writes when there is no limit; undefined: its figures can't be set. */
  readonly unlimited: string | undefined;
  open(): Promise<OpenedCgroup>;
}

const numberOf = (text: string | undefined): number => {
  const value = Number(text ?? 0);
  return Number.isFinite(value) ? value : 0;
};

const fakeCgroup: CgroupVariant = {
  name: 'in memory',
  unlimited: 'max',
  open: async () => {
    const reader = new FakeCgroup();
    return {
      reader,
      record: async ({ memory, pageCache, memoryLimit, cpuUsec, pids }) => {
        const memoryUsageBytes = numberOf(memory);
        reader.usage = {
          ...NO_USAGE,
          memoryUsageBytes,
          memoryWorkingSetBytes: Math.max(0, memoryUsageBytes - numberOf(pageCache)),
          memoryLimitBytes: numberOf(memoryLimit),
          cpuUsageUsec: numberOf(cpuUsec),
          pids: numberOf(pids),
        };
      },
      dispose: async () => undefined,
    };
  },
};

/** What is on the other list when this one has a page. */
const lessPage = (text: string): string => (Number.isFinite(Number(text)) ? String(Number(text) - 4096) : text);

type Layout = (counted: Counted) => Readonly<Record<string, string | undefined>>;

/** Around the lines that are read are others that begin alike, as in the kernel's files. */
const V2_LAYOUT: Layout = ({ memory, pageCache, memoryLimit, cpuUsec, pids }) => ({
  'memory.current': memory,
  'memory.max': memoryLimit,
  'memory.stat':
    pageCache && `anon 8400896\nfile 41943040\ninactive_file 4096\nactive_file ${lessPage(pageCache)}\nactive_anon 77`,
  'cpu.stat': cpuUsec && `usage_usec ${cpuUsec}\nuser_usec 1000000\nsystem_usec 234567`,
  'pids.current': pids,
});

const V1_LAYOUT: Layout = ({ memory, pageCache, memoryLimit, cpuUsec, pids }) => ({
  'memory/memory.usage_in_bytes': memory,
  'memory/memory.limit_in_bytes': memoryLimit,
  'memory/memory.stat':
    pageCache && `inactive_file 99\ntotal_inactive_file ${lessPage(pageCache)}\ntotal_active_file 4096`,
  // Nanoseconds.
  'cpuacct/cpuacct.usage': cpuUsec && `${cpuUsec}891`,
  'pids/pids.current': pids,
});

const recorded = (name: CgroupLayout, unlimited: string, layout: Layout): CgroupVariant => ({
  name,
  unlimited,
  open: async () => {
    const root = await mkdtemp(join(tmpdir(), 'nexus-cgroup-'));
    return {
      reader: cgroupReader(name, root),
      record: async (counted) => {
        for (const [path, text] of Object.entries(layout(counted))) {
          if (text === undefined) continue;
          await mkdir(dirname(join(root, path)), { recursive: true });
          await writeFile(join(root, path), `${text}\n`);
        }
      },
      dispose: () => rm(root, { recursive: true }),
    };
  },
});

const ownProcess: CgroupVariant = {
  name: 'none',
  unlimited: undefined,
  open: async () => ({
    reader: cgroupReader('none'),
    record: () => Promise.reject(new Error("a process's own figures can't be set")),
    dispose: async () => undefined,
  }),
};

export const CGROUPS: readonly CgroupVariant[] = [
  fakeCgroup,
  recorded('v2', 'max', V2_LAYOUT),
  recorded('v1', '9223372036854771712', V1_LAYOUT),
  ownProcess,
];

/**
 * The files of a cgroup, and the figures of a node that are read from them. Files are named as on v2. What the host
 * does not report is 0: a missing counter must not cost a report its other figures.
 */
import type { CgroupLayout } from './layout.js';

/** The controller and the name of each file on v1; undefined: v1 has no such file. */
export const V1_FILES = {
  'cgroup.subtree_control': undefined,
  'cpu.max': ['cpu', 'cpu.cfs_quota_us'],
  'cpu.stat': ['cpuacct', 'cpuacct.usage'],
  'cpu.weight': ['cpu', 'cpu.shares'],
  'memory.current': ['memory', 'memory.usage_in_bytes'],
  'memory.events': ['memory', 'memory.oom_control'],
  'memory.max': ['memory', 'memory.limit_in_bytes'],
  'memory.oom.group': undefined,
  'memory.peak': ['memory', 'memory.max_usage_in_bytes'],
  'memory.stat': ['memory', 'memory.stat'],
  // On v1 the file is about memory and swap together.
  'memory.swap.max': ['memory', 'memory.memsw.limit_in_bytes'],
  'pids.current': ['pids', 'pids.current'],
  'pids.max': ['pids', 'pids.max'],
} as const satisfies Readonly<Record<string, readonly [controller: string, file: string] | undefined>>;

export type CgroupFile = keyof typeof V1_FILES;

interface Readable {
  readonly layout: CgroupLayout;
  /** The file's text; empty if there is none. */
  read(file: CgroupFile): Promise<string>;
}

/** 0 for what is no number, as `max`: one that can't be encoded would cost the whole report. */
function numberIn(text: string): number {
  const value = Number(text.trim());
  return Number.isFinite(value) ? value : 0;
}

/** The sum of the values of these keys in a text of `key value` lines; a missing one counts 0. */
export function fieldsIn(text: string, ...keys: readonly string[]): number {
  let sum = 0;
  for (const line of text.split('\n')) {
    const [key = '', value = ''] = line.split(' ');
    if (keys.includes(key)) sum += numberIn(value);
  }
  return sum;
}

const numberOf = async (cgroup: Readable, file: CgroupFile): Promise<number> => numberIn(await cgroup.read(file));

/** v1 reports "no limit" as the largest multiple of a page in 63 bits; no real limit comes near this. */
const UNLIMITED_FROM_BYTES = 2 ** 60;

/**
 * Both lists can be dropped; a node that reads its chunks twice has most of it on the active one. `total_`: with the
 * children, in which all processes of a node are.
 */
const PAGE_CACHE = {
  v2: ['inactive_file', 'active_file'],
  v1: ['total_inactive_file', 'total_active_file'],
} as const;

const pageCacheOf = async (cgroup: Readable): Promise<number> =>
  fieldsIn(await cgroup.read('memory.stat'), ...PAGE_CACHE[cgroup.layout]);

/** Memory that can't be reclaimed by dropping page cache. The two are read while the kernel goes on. */
const withoutCache = (usage: number, pageCache: number): number => Math.max(0, usage - pageCache);

/** Undefined if the host does not count the cgroup's memory. */
export async function workingSetOf(cgroup: Readable): Promise<number | undefined> {
  const [used, pageCache] = await Promise.all([cgroup.read('memory.current'), pageCacheOf(cgroup)]);
  return used === '' ? undefined : withoutCache(numberIn(used), pageCache);
}

/** How each figure is read; to add one is to add an entry. */
const READINGS = {
  memoryUsageBytes: (cgroup) => numberOf(cgroup, 'memory.current'),
  pageCacheBytes: pageCacheOf,
  memoryLimitBytes: async (cgroup) => {
    const limit = await numberOf(cgroup, 'memory.max');
    return limit >= UNLIMITED_FROM_BYTES ? 0 : limit;
  },
  cpuUsageUsec: async (cgroup) => {
    const text = await cgroup.read('cpu.stat');
    return cgroup.layout === 'v2' ? fieldsIn(text, 'usage_usec') : Math.floor(numberIn(text) / 1000);
  },
  pids: (cgroup) => numberOf(cgroup, 'pids.current'),
} as const satisfies Readonly<Record<string, (cgroup: Readable) => Promise<number>>>;

type Readings = Record<keyof typeof READINGS, number>;

/** The resources that a node uses, all its processes together. A limit of 0: none. CPU time is cumulative. */
export type CgroupUsage = Readonly<Omit<Readings, 'pageCacheBytes'> & { memoryWorkingSetBytes: number }>;

const usageIn = ({ pageCacheBytes, ...readings }: Readings): CgroupUsage => ({
  ...readings,
  memoryWorkingSetBytes: withoutCache(readings.memoryUsageBytes, pageCacheBytes),
});

export const NO_USAGE: CgroupUsage = usageIn(
  Object.fromEntries(Object.keys(READINGS).map((figure) => [figure, 0])) as Readings,
);

/** Reads all figures; may be called at any time and concurrently. */
export async function usageOf(cgroup: Readable): Promise<CgroupUsage> {
  const read = Object.entries(READINGS).map(async ([figure, reading]) => [figure, await reading(cgroup)]);
  return usageIn(Object.fromEntries(await Promise.all(read)) as Readings);
}

/**
 * The two layouts of cgroups. v2 has one hierarchy, with all files of a cgroup in one folder. v1 has one hierarchy for
 * each controller; a hybrid host is v1 here, because its controllers are on v1.
 */
import { readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { NexusError } from '../errors.js';

export type CgroupLayout = 'v1' | 'v2';

/** Where the hierarchies are mounted, on the host and (read-only, from the node's own cgroup down) in a node. */
export const CGROUP_ROOT = '/sys/fs/cgroup';

/** v1 controllers in which nodes' cgroups have limits or counters. cpuacct adds a child's CPU time to its node's. */
export const V1_CONTROLLERS = ['memory', 'cpu', 'cpuacct', 'pids'] as const;

/** v1 hierarchies in which an OCI runtime makes a cgroup: all that are mounted, not only those with limits. */
export const V1_HIERARCHIES = [
  ...V1_CONTROLLERS,
  'blkio',
  'cpuset',
  'devices',
  'freezer',
  'hugetlb',
  'misc',
  'net_cls',
  'net_prio',
  'perf_event',
  'rdma',
  'systemd',
  'unified',
];

/** v2 has no devices controller: a BPF program decides there which devices a node may open. */
const NEEDED = { v2: ['cpu', 'memory', 'pids'], v1: ['cpu', 'memory', 'pids', 'devices', 'cpuacct'] } as const;

/** Controllers that nodes' limits need and the host lacks. */
export const missingControllers = (layout: CgroupLayout, available: ReadonlySet<string>): readonly string[] =>
  NEEDED[layout].filter((controller) => !available.has(controller));

/** Returns the layout of this host. Code: failed_precondition if a needed controller is missing. */
export async function detectCgroupLayout(root = CGROUP_ROOT): Promise<CgroupLayout> {
  const unified = await readFile(join(root, 'cgroup.controllers'), 'utf8').catch(() => undefined);
  const layout = unified === undefined ? 'v1' : 'v2';
  const missing = missingControllers(layout, new Set(unified?.split(/\s+/) ?? (await readdir(root))));
  if (missing.length === 0) return layout;
  throw new NexusError(
    'failed_precondition',
    `cgroup controllers missing on this host: ${missing.join(', ')}`,
    {},
    { advice: { key: 'see-doctor' } },
  );
}

export interface MountedCgroups {
  readonly layout: 'v2' | 'hybrid' | 'v1' | 'none';
  /** Usable controllers: those of v2, or those that are mounted as v1. */
  readonly controllers: ReadonlySet<string>;
}

/**
 * Reads the text of /proc/mounts and of cgroup.controllers in the v2 root. Hybrid: v1 controllers, and a v2 hierarchy
 * with few of them or none.
 */
export function mountedCgroups(mounts: string, v2Controllers: string | undefined): MountedCgroups {
  const lines = mounts.split('\n').map((line) => line.split(' '));
  const v2 = lines.filter(([, , type]) => type === 'cgroup2');
  const v1 = lines.filter(([, , type]) => type === 'cgroup');
  if (v2.some(([, place]) => place === CGROUP_ROOT)) {
    return { layout: 'v2', controllers: new Set((v2Controllers ?? '').split(/\s+/).filter((name) => name !== '')) };
  }
  const controllers = new Set(v1.flatMap(([, , , options = '']) => options.split(',')));
  if (v1.length === 0) return { layout: 'none', controllers: new Set() };
  return { layout: v2.length > 0 ? 'hybrid' : 'v1', controllers };
}

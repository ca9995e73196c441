/** Which cgroup layout the host has, and whether the controllers that nodes' limits need are in it. */
import { traitsOf } from '../config/runtimes.js';
import { failed, passed, type HostCheck, type ProbeInput } from './report.js';

export type CgroupLayoutName = 'v2' | 'hybrid' | 'v1' | 'none';

export interface CgroupLayoutFound {
  readonly layout: CgroupLayoutName;
  /** Usable controllers: those of v2, or those that are mounted as v1. */
  readonly controllers: ReadonlySet<string>;
}

const MOUNT_POINT = '/sys/fs/cgroup';

/**
 * From the text of /proc/mounts and of the v2 root's cgroup.controllers. Hybrid: v1 controllers, and a v2 hierarchy
 * that holds few of them or none.
 */
export function readLayout(mounts: string, v2Controllers: string | undefined): CgroupLayoutFound {
  const lines = mounts.split('\n').map((line) => line.split(' '));
  const v2 = lines.filter(([, , type]) => type === 'cgroup2');
  const v1 = lines.filter(([, , type]) => type === 'cgroup');
  if (v2.some(([, place]) => place === MOUNT_POINT)) {
    return { layout: 'v2', controllers: new Set((v2Controllers ?? '').split(/\s+/).filter((name) => name !== '')) };
  }
  const controllers = new Set(v1.flatMap(([, , , options = '']) => options.split(',')));
  if (v1.length === 0) return { layout: 'none', controllers: new Set() };
  return { layout: v2.length > 0 ? 'hybrid' : 'v1', controllers };
}

// v2 has no devices controller: what nodes may open is decided by a BPF program there.
const NEEDED = { v2: ['cpu', 'memory', 'pids'], v1: ['cpu', 'memory', 'pids', 'devices', 'cpuacct'] } as const;

export async function probeCgroups({ sources, settings }: ProbeInput): Promise<HostCheck> {
  const mounts = (await sources.readText('/proc/mounts')) ?? '';
  const { layout, controllers } = readLayout(mounts, await sources.readText(`${MOUNT_POINT}/cgroup.controllers`));
  const name = 'cgroups';
  if (layout === 'none') {
    return failed(name, 'not mounted', `mount them: mount -t cgroup2 cgroup2 ${MOUNT_POINT}`);
  }
  if (layout !== 'v2' && traitsOf(settings.runtime).program?.needsUnifiedCgroups === true) {
    return failed(
      name,
      `${describe(layout)}, where ${settings.runtime} does not work`,
      'use --runtime runc, or boot with systemd.unified_cgroup_hierarchy=1 (pure v2)',
    );
  }
  const missing = NEEDED[layout === 'v2' ? 'v2' : 'v1'].filter((controller) => !controllers.has(controller));
  if (missing.length === 0) return passed(name, describe(layout));
  return failed(
    name,
    `${describe(layout)}, without ${missing.join(', ')}`,
    layout === 'v2'
      ? 'enable the controllers: in a container or virtual machine, delegate them from outside; otherwise boot without cgroup_disable='
      : 'boot with systemd.unified_cgroup_hierarchy=1 (pure v2), or mount the missing v1 controllers',
  );
}

const describe = (layout: CgroupLayoutName): string =>
  layout === 'hybrid' ? 'hybrid (controllers on v1)' : `${layout}${layout === 'v2' ? ' (unified)' : ''}`;

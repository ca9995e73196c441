/** The kernel: its version and the features that nodes are made of. */
import { dirname, join } from 'node:path';
import { CGROUP_ROOT, missingControllers, mountedCgroups, type MountedCgroups } from '../cgroup/layout.js';
import { traitsOf } from '../config/runtimes.js';
import { failed, passed, type HostCheck, type ProbeInput } from './report.js';

/** The first one with mapped mounts below an overlay, in which each node sees images and its volume. */
const OLDEST_KERNEL = [5, 19] as const;

export async function probeKernel(input: ProbeInput): Promise<HostCheck[]> {
  return await Promise.all([
    kernelVersion(input),
    fileSystem(input, 'overlay', 'nodes have a writable layer over a read-only image'),
    fileSystem(input, 'ext4', 'volumes are ext4'),
    loopDevices(input),
    seccomp(input),
    userNamespaces(input),
    mappedOwners(input),
    cgroups(input),
  ]);
}

async function kernelVersion({ sources }: ProbeInput): Promise<HostCheck> {
  const release = ((await sources.readText('/proc/sys/kernel/osrelease')) ?? '').trim();
  const [major = 0, minor = 0] = release.split('.').map((part) => Number.parseInt(part, 10));
  const [oldestMajor, oldestMinor] = OLDEST_KERNEL;
  if (major > oldestMajor || (major === oldestMajor && minor >= oldestMinor)) return passed('kernel', release);
  const found = release === '' ? 'not a Linux kernel' : release;
  return failed('kernel', found, `Linux ${OLDEST_KERNEL.join('.')} or newer is needed`);
}

/**
 * A file system that is built in or loaded is in /proc/filesystems. A loadable module is enough, too: mount loads it.
 */
async function fileSystem({ sources }: ProbeInput, name: string, reason: string): Promise<HostCheck> {
  const known = (await sources.readText('/proc/filesystems')) ?? '';
  if (known.split('\n').some((line) => line.split('\t')[1] === name)) return passed(name, 'in the kernel');
  const dryRun = await sources.run('modprobe', ['-n', '-q', name]);
  if (dryRun?.exitCode === 0) return passed(name, 'as a module, loaded when needed');
  return failed(name, 'neither in the kernel nor a module', `a kernel with ${name} is needed: ${reason}`);
}

async function loopDevices(input: ProbeInput): Promise<HostCheck> {
  const { sources, settings } = input;
  const name = 'loop devices';
  if (!(await sources.exists('/dev/loop-control'))) {
    return failed(name, 'no /dev/loop-control', 'load the driver: modprobe loop (in a container: pass the device in)');
  }
  const attached = await attachedLoops(input);
  const base = settings.loopBase;
  // One for each address of the subnet, except those of the network, the bridge and broadcast.
  const range = 2 ** (32 - Number(settings.subnet.split('/')[1])) - 3;
  const wanted = attached.filter(({ number }) => number >= base && number < base + range);
  const own = await ownVolumes(input);
  const foreign = wanted.find(({ inode }) => inode !== undefined && !own.has(inode));
  if (foreign === undefined) return passed(name, `${attached.length} in use; nodes take /dev/loop${base} and up`);
  const found = `/dev/loop${foreign.number} is in use by ${foreign.file}`;
  return failed(name, found, 'set loop-base (NEXUS_LOOP_BASE) to a number with free devices after it');
}

interface AttachedLoop {
  readonly number: number;
  /** Just `/` for a node's volume, whose path is in a mount that no longer exists. */
  readonly file: string;
  /** Undefined without root. */
  readonly inode: number | undefined;
}

/** /sys/block/loopN/loop exists only for attached devices; only losetup reports the inode of the backing file. */
async function attachedLoops({ sources }: ProbeInput): Promise<AttachedLoop[]> {
  const names = (await sources.list('/sys/block')).filter((block) => /^loop\d+$/.test(block));
  const found = await Promise.all(
    names.map(async (block) => {
      const file = (await sources.readText(`/sys/block/${block}/loop/backing_file`))?.trim();
      if (file === undefined) return [];
      const answer = await sources.run('losetup', ['--noheadings', '--output', 'BACK-INO', `/dev/${block}`]);
      const inode = /^\d+$/.exec(answer?.output ?? '')?.[0];
      return [
        { number: Number(block.slice('loop'.length)), file, inode: inode === undefined ? undefined : Number(inode) },
      ];
    }),
  );
  return found.flat();
}

/** Inodes of this instance's volumes. */
async function ownVolumes({ settings, sources }: ProbeInput): Promise<ReadonlySet<number | undefined>> {
  const folder = join(settings.stateDir, 'volumes');
  const images = await sources.list(folder);
  return new Set(await Promise.all(images.map(async (image) => await sources.inode(join(folder, image)))));
}

async function seccomp({ sources }: ProbeInput): Promise<HostCheck> {
  const actions = await sources.readText('/proc/sys/kernel/seccomp/actions_avail');
  if (actions?.split(/\s+/).includes('errno') === true) return passed('seccomp', 'filters');
  return failed(
    'seccomp',
    'no filters',
    'a kernel with CONFIG_SECCOMP_FILTER is needed: it limits the system calls of commands in nodes',
  );
}

/** Each node has one. */
async function userNamespaces({ sources }: ProbeInput): Promise<HostCheck> {
  const name = 'user namespaces';
  const limit = (await sources.readText('/proc/sys/user/max_user_namespaces'))?.trim();
  if (limit === undefined)
    return failed(name, 'not in this kernel', 'a kernel with CONFIG_USER_NS is needed: each node has one of its own');
  if (limit === '0')
    return failed(name, 'switched off', 'allow one for each node: sysctl user.max_user_namespaces=10000');
  return passed(name, `up to ${limit}`);
}

/** Exit code of node-stage.c where the owners cannot be mapped. */
const NOT_MAPPED = 75;

/**
 * Which file systems can do it depends on the kernel, and whether it is allowed on what the host runs in; so it is tried
 * where volumes and images will lie, on a mount that is nowhere in the tree of files.
 */
async function mappedOwners({ sources, settings, projectRoot }: ProbeInput): Promise<HostCheck> {
  const name = 'id-mapped mounts';
  if (sources.uid !== 0) return passed(name, 'not known without root');
  const program = join(projectRoot, 'dist', 'node-stage');
  if (!(await sources.exists(program))) return passed(name, 'not known before the set-up');
  let folder = settings.stateDir;
  while (folder !== '/' && !(await sources.exists(folder))) folder = dirname(folder);
  const answer = await sources.run(program, ['try-owners', folder]);
  if (answer?.exitCode === 0) return passed(name, `work on the disk of ${settings.stateDir}`);
  const said = (answer?.output ?? '').replaceAll(/^first-stage: (said: )?/gm, '').split('\n');
  const found = [...said].reverse().filter(Boolean).join(': ') || 'the trial cannot be run';
  const elsewhere = 'set state-dir (NEXUS_STATE_DIR) to a folder on ext4, xfs or btrfs';
  const allowed = 'in a container, let it map owners (mount_setattr, CAP_SYS_ADMIN)';
  const remedy = answer?.exitCode === NOT_MAPPED ? `${elsewhere}; ${allowed}` : allowed;
  return failed(name, found, `${remedy}; or use --runtime process: nodes see image and volume by such mounts`);
}

/** Which cgroup layout the host has, and whether the controllers that nodes' limits need are in it. */
async function cgroups({ sources, settings }: ProbeInput): Promise<HostCheck> {
  const mounts = (await sources.readText('/proc/mounts')) ?? '';
  const { layout, controllers } = mountedCgroups(mounts, await sources.readText(`${CGROUP_ROOT}/cgroup.controllers`));
  const name = 'cgroups';
  if (layout === 'none') {
    return failed(name, 'not mounted', `mount them: mount -t cgroup2 cgroup2 ${CGROUP_ROOT}`);
  }
  if (layout !== 'v2' && traitsOf(settings.runtime).program?.needsUnifiedCgroups === true) {
    return failed(
      name,
      `${describe(layout)}, where ${settings.runtime} does not work`,
      'use --runtime runc, or boot with systemd.unified_cgroup_hierarchy=1 (pure v2)',
    );
  }
  const missing = missingControllers(layout === 'v2' ? 'v2' : 'v1', controllers);
  if (missing.length === 0) return passed(name, describe(layout));
  return failed(
    name,
    `${describe(layout)}, without ${missing.join(', ')}`,
    layout === 'v2'
      ? 'enable the controllers: in a container or virtual machine, delegate them from outside; otherwise boot without cgroup_disable='
      : 'boot with systemd.unified_cgroup_hierarchy=1 (pure v2), or mount the missing v1 controllers',
  );
}

const describe = (layout: MountedCgroups['layout']): string =>
  layout === 'hybrid' ? 'hybrid (controllers on v1)' : `${layout}${layout === 'v2' ? ' (unified)' : ''}`;

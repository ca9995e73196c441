/** Answers recorded on a host where everything is there; each test changes what it is about. */
import type { ProbeInput } from '../../shared/host/report.js';
import type { HostSources, ProgramAnswer } from '../../shared/host/sources.js';
import { loadSettings, type Settings } from '../../shared/config/settings.js';

export interface Recorded {
  readonly files?: Readonly<Record<string, string | undefined>>;
  readonly folders?: Readonly<Record<string, readonly string[]>>;
  readonly inodes?: Readonly<Record<string, number>>;
  /** By program name, or by the whole command line. Undefined: not installed. */
  readonly programs?: Readonly<Record<string, ProgramAnswer | undefined>>;
  readonly uid?: number;
  readonly nodeVersion?: string;
  readonly freeBytes?: number;
  readonly isInMemory?: boolean;
  readonly settings?: Partial<Settings>;
}

export const V2_MOUNTS = 'proc /proc proc rw 0 0\ncgroup2 /sys/fs/cgroup cgroup2 rw,nosuid 0 0\n';

export const HYBRID_MOUNTS = `tmpfs /sys/fs/cgroup tmpfs rw,mode=755 0 0
cgroup /sys/fs/cgroup/cpu,cpuacct cgroup rw,relatime,cpu,cpuacct 0 0
cgroup /sys/fs/cgroup/memory cgroup rw,relatime,memory 0 0
cgroup /sys/fs/cgroup/devices cgroup rw,relatime,devices 0 0
cgroup /sys/fs/cgroup/pids cgroup rw,relatime,pids 0 0
cgroup /sys/fs/cgroup/systemd cgroup rw,relatime,name=systemd 0 0
cgroup2 /sys/fs/cgroup/unified cgroup2 rw,relatime 0 0
`;

const ROUTES = `Iface\tDestination\tGateway \tFlags\tRefCnt\tUse\tMetric\tMask\t\tMTU\tWindow\tIRTT
eth0\t00000000\t010200C0\t0003\t0\t0\t0\t00000000\t0\t0\t0
eth0\t000200C0\t00000000\t0001\t0\t0\t0\t00FFFFFF\t0\t0\t0
`;

const FILES: Readonly<Record<string, string>> = {
  '/proc/mounts': V2_MOUNTS,
  '/sys/fs/cgroup/cgroup.controllers': 'cpuset cpu io memory hugetlb pids rdma\n',
  '/proc/sys/kernel/osrelease': '6.1.0-28-amd64\n',
  '/proc/filesystems': 'nodev\tsysfs\nnodev\toverlay\n\text4\n',
  '/proc/sys/kernel/seccomp/actions_avail': 'kill_process kill_thread trap errno log allow\n',
  '/proc/sys/user/max_user_namespaces': '96365\n',
  '/proc/net/route': ROUTES,
  '/proc/net/tcp': '  sl  local_address rem_address   st\n',
  '/proc/net/tcp6': '  sl  local_address rem_address   st\n',
  '/proc/net/unix': 'Num       RefCount Protocol Flags    Type St Inode Path\n',
  '/proc/meminfo': 'MemTotal:       16000000 kB\nMemAvailable:    8000000 kB\n',
  '/proc/self/limits':
    'Limit                     Soft Limit           Hard Limit           Units\n' +
    'Max open files            1024                 1048576              files\n',
  '/proc/sys/fs/inotify/max_user_instances': '128\n',
  '/dev/loop-control': '',
  '/project/dist/runtime/bin/node': '',
  '/project/dist/runtime/agent.cjs': '',
  '/project/dist/node-stage': '',
};

const answer = (output: string, exitCode = 0): ProgramAnswer => ({ exitCode, output });

const PROGRAMS: Readonly<Record<string, ProgramAnswer>> = {
  runc: answer('runc version 1.1.5+ds1\ncommit: 1.1.5+ds1-1+deb12u1'),
  'nats-server': answer('nats-server: v2.9.10'),
  ip: answer('ip utility, iproute2-6.1.0, libbpf 1.1.2'),
  nft: answer('nftables v1.0.6 (Lester Gooch #5)'),
  'mkfs.ext4': answer('mke2fs 1.47.0 (5-Feb-2023)'),
  e2fsck: answer('e2fsck 1.47.0 (5-Feb-2023)'),
  losetup: answer('losetup from util-linux 2.38.1'),
  setpriv: answer('setpriv from util-linux 2.38.1'),
  flock: answer('flock from util-linux 2.38.1'),
  mmdebstrap: answer('mmdebstrap 1.3.5'),
  busybox: answer('BusyBox v1.35.0 (Debian 1:1.35.0-4) multi-call binary.'),
  perl: answer('This is perl 5, version 36, subversion 0 (v5.36.0) built for x86_64-linux-gnu-thread-multi'),
  unshare: answer(''),
  '/project/dist/node-stage': answer(''),
};

export function recordedInput(recorded: Recorded = {}): ProbeInput {
  const files = { ...FILES, ...recorded.files };
  const folders: Record<string, readonly string[]> = {
    '/project/.cache': ['base-image-bookworm.tar'],
    ...recorded.folders,
  };
  const programs: Record<string, ProgramAnswer | undefined> = { ...PROGRAMS, ...recorded.programs };
  const sources: HostSources = {
    uid: recorded.uid ?? 0,
    nodeVersion: recorded.nodeVersion ?? '20.20.2',
    readText: async (path) => files[path],
    list: async (path) => folders[path] ?? [],
    exists: async (path) => files[path] !== undefined,
    inode: async (path) => recorded.inodes?.[path],
    run: async (program, args) => {
      const whole = [program, ...args].join(' ');
      return Object.hasOwn(programs, whole) ? programs[whole] : programs[program];
    },
    disk: async () => ({
      freeBytes: recorded.freeBytes ?? 50 * 1024 ** 3,
      isInMemory: recorded.isInMemory ?? false,
    }),
  };
  const settings = { ...loadSettings({ env: {}, uid: 0 }), ...recorded.settings };
  return { settings, sources, projectRoot: '/project' };
}

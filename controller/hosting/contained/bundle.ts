/** The OCI bundle of a node (opencontainers/runtime-spec 1.0): pure construction of `config.json`. */
import { LARGEST_NODE_ID } from '../../../shared/limits.js';
import { memoryShares } from './memory-shares.js';
import type { ContainerLimits, ContainerSpec, ExecSpec } from '../runtime.js';
import type { OciProgram } from './programs.js';
import { nodeSeccomp } from './seccomp.js';
import { noInterpreter, noProgram, notExecutable, TERMINALS_OF_NODE } from '../start-failure.js';

/** Paths inside a node. Everything of Nexus is below one folder, so that any root file system can be an image. */
export const IN_NODE = {
  runtime: '/.nexus/rt',
  config: '/.nexus/config',
  run: '/.nexus/run',
  /** Made by the agent once it waits for its configuration, in a folder that node-stage.c makes last. */
  waiting: '/.nexus/run/waiting',
  /** Copies of hosts, hostname and resolv.conf, bound over those of /etc by node-stage.c. */
  etc: '/.nexus/etc',
  data: '/data',
} as const;

/**
 * Folders of the root that the container is created with. They are mount points and nothing else; node-stage.c puts the
 * node's own root together there, before anything of the node runs.
 */
export const STAGE_MOUNT_POINTS = ['proc', 'dev', 'sys', 'tmp', '.nexus', 'image', 'volume', 'root'] as const;

const EXEC_CAPABILITIES = [
  'CAP_CHOWN',
  'CAP_DAC_OVERRIDE',
  'CAP_FOWNER',
  // Else chmod, cp and tar drop set-group-id without a word where root is not in the group: folders of a group.
  'CAP_FSETID',
  'CAP_SETUID',
  'CAP_SETGID',
  'CAP_KILL',
  'CAP_NET_BIND_SERVICE',
];

/** PATH of commands in a node, including those that a person starts by hand with runc. */
const EXEC_PATH = '/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin';

const NODE_UMASK = 0o022;

interface BundleHost {
  /** Folder with STAGE_MOUNT_POINTS. */
  readonly stageRoot: string;
  readonly runtimeDir: string;
  readonly cgroupsPath: string;
  readonly cgroupLayout: 'v1' | 'v2';
  readonly program: Pick<OciProgram, 'needsOpenInit'>;
}

export function ociConfig(spec: ContainerSpec, host: BundleHost): object {
  const { runtime } = IN_NODE;
  const mappings = idMappings(spec);
  return {
    ociVersion: '1.0.2',
    hostname: spec.hostname,
    root: { path: host.stageRoot, readonly: true },
    process: {
      terminal: false,
      user: { uid: spec.agentUid, gid: spec.agentUid, umask: NODE_UMASK },
      cwd: '/',
      args: agentCommand(runtime, host.program),
      env: [
        `PATH=${EXEC_PATH}`,
        'UV_THREADPOOL_SIZE=4',
        'MALLOC_ARENA_MAX=2',
        // Node would load what the node's own /etc/ssl/openssl.cnf names.
        'OPENSSL_CONF=/dev/null',
        `NEXUS_AGENT_CONFIG=${IN_NODE.config}/agent.json`,
        `NEXUS_AGENT_WAITING=${IN_NODE.waiting}`,
      ],
      capabilities: {},
      noNewPrivileges: true,
    },
    mounts: mounts(spec, host),
    linux: {
      namespaces: ['user', 'pid', 'network', 'ipc', 'uts', 'mount', 'cgroup'].map((type) => ({ type })),
      uidMappings: mappings,
      gidMappings: mappings,
      cgroupsPath: host.cgroupsPath,
      resources: { ...ociLimits(spec.limits, host.cgroupLayout), devices: [{ allow: false, access: 'rwm' }] },
      // Who may send echo requests without the right to send all kinds of packets: every user of a node.
      sysctl: { 'net.ipv4.ping_group_range': `0 ${LARGEST_NODE_ID}` },
      seccomp: nodeSeccomp(process.arch),
      maskedPaths: [
        '/proc/acpi',
        // Hides the machine's boot parameters and disks, and other instances' volumes, by their paths and use.
        '/proc/cmdline',
        '/proc/diskstats',
        '/proc/partitions',
        '/sys/devices/virtual/block',
        '/sys/fs/ext4',
        '/proc/asound',
        '/proc/kcore',
        '/proc/keys',
        '/proc/latency_stats',
        '/proc/timer_list',
        '/proc/timer_stats',
        '/proc/sched_debug',
        '/proc/scsi',
        '/sys/firmware',
        '/sys/devices/virtual/powercap',
      ],
      // The kernel watches for whoever writes to /proc/pressure, on the host's behalf.
      readonlyPaths: ['/proc/bus', '/proc/fs', '/proc/irq', '/proc/pressure', '/proc/sys', '/proc/sysrq-trigger'],
      rootfsPropagation: 'private',
    },
  };
}

/**
 * Builds the `linux.resources` part for the limits. No swap, so that a memory limit limits memory. cgroup v2 gets the
 * weight unchanged: given v1 shares, runc would convert them by a formula.
 */
export function ociLimits(limits: ContainerLimits, layout: 'v1' | 'v2'): object {
  return {
    memory: { limit: limits.memoryBytes, swap: limits.memoryBytes },
    pids: { limit: limits.pids },
    ...(layout === 'v2'
      ? { unified: { 'cpu.weight': String(limits.cpuWeight) } }
      : { cpu: { shares: Math.max(limits.cpuWeight, LEAST_V1_SHARES) } }),
  };
}

/** In file systems of memory: files are half a page on average before their number ends first. */
const BYTES_PER_INODE = 2048;

/** The kernel's minimum. */
const LEAST_V1_SHARES = 2;

function mounts(spec: ContainerSpec, host: BundleHost): object[] {
  const { tmpBytes, sharedBytes } = memoryShares(spec.limits.memoryBytes);
  const tmpfs = (destination: string, ...options: string[]): object => ({
    destination,
    type: 'tmpfs',
    source: 'tmpfs',
    options: ['nosuid', ...options],
  });
  // Files without content take memory, too: each about a kilobyte of the kernel's.
  const inodes = (bytes: number): string => `nr_inodes=${Math.floor(bytes / BYTES_PER_INODE)}`;
  const bind = (destination: string, source: string, ...options: string[]): object => ({
    destination,
    type: 'bind',
    source,
    options: ['rbind', 'nosuid', 'nodev', ...options],
  });
  return [
    { destination: '/proc', type: 'proc', source: 'proc', options: ['nosuid', 'nodev', 'noexec'] },
    // Holds device nodes and links only, which take no blocks.
    tmpfs('/dev', 'strictatime', 'mode=755', 'size=64k', 'nr_inodes=1024'),
    {
      destination: '/dev/pts',
      type: 'devpts',
      source: 'devpts',
      options: ['nosuid', 'noexec', 'newinstance', 'ptmxmode=0666', 'mode=0620', 'gid=5', `max=${TERMINALS_OF_NODE}`],
    },
    tmpfs('/dev/shm', 'noexec', 'nodev', 'mode=1777', `size=${sharedBytes}`, inodes(sharedBytes)),
    { destination: '/dev/mqueue', type: 'mqueue', source: 'mqueue', options: ['nosuid', 'noexec', 'nodev'] },
    { destination: '/sys', type: 'sysfs', source: 'sysfs', options: ['nosuid', 'noexec', 'nodev', 'ro'] },
    { destination: '/sys/fs/cgroup', type: 'cgroup', source: 'cgroup', options: ['nosuid', 'noexec', 'nodev', 'ro'] },
    tmpfs('/tmp', 'nodev', 'mode=1777', `size=${tmpBytes}`, inodes(tmpBytes)),
    tmpfs('/.nexus', 'nodev', 'mode=755', 'size=1m', 'nr_inodes=1024'),
    bind(IN_NODE.runtime, host.runtimeDir, 'ro'),
  ];
}

/**
 * The agent under node-init.c, which tells how it ended. The flags keep an agent at rest small; measured, transfers are no
 * slower. --library-path reaches Node alone: LD_LIBRARY_PATH would reach whatever else is started.
 */
const agentCommand = (runtime: string, { needsOpenInit }: BundleHost['program']): readonly string[] => {
  const flags = ['--v8-pool-size=0', '--single-threaded-gc'];
  return [
    `${runtime}/bin/${needsOpenInit ? 'init-open' : 'init'}`,
    `${runtime}/lib/loader`,
    '--library-path',
    `${runtime}/lib`,
    `${runtime}/bin/node`,
    ...flags,
    '--inspect-port=192.0.2.1:65535',
    `${runtime}/agent.cjs`,
  ];
};

/** Ids of a range: as many as a host has without user namespaces, the last one of which is the agent's. */
export const IDS_OF_RANGE = 65_536;

/** Ids that a node has beside its agent's. */
const OWN_IDS = LARGEST_NODE_ID + 1;

type Ids = Pick<ContainerSpec, 'agentUid' | 'firstId'>;

/** The uid on the host of a node's agent; the same as in the node where it has no range, as one of an earlier version. */
export function hostUidOfAgent({ agentUid, firstId }: Ids): number {
  if (firstId === undefined) return agentUid;
  return firstId + Math.min(agentUid, OWN_IDS);
}

/** Ids of the node, root among them, are the range's on the host; the agent's own id mostly lies beyond them in the node. */
function idMappings(ids: Ids): object[] {
  const { agentUid, firstId } = ids;
  if (firstId === undefined) throw new TypeError('a node of this kind has a range of ids');
  const own = { containerID: 0, hostID: firstId, size: OWN_IDS };
  return agentUid < OWN_IDS ? [own] : [own, { containerID: agentUid, hostID: hostUidOfAgent(ids), size: 1 }];
}

type LineEnds = Pick<OciProgram, 'clearsLineEnds'>;

/**
 * `process.json` for `exec`: root of the node with few capabilities. Set-user-id programs work, `sudo` and `su` among
 * them: what they, and capabilities of files, can give ends at the same few, and root of a node is what an
 * administrator's command is anyway.
 */
export function ociExecProcess(spec: ExecSpec, program: LineEnds): object {
  const capabilities = spec.uid === 0 ? EXEC_CAPABILITIES : [];
  const env = {
    PATH: EXEC_PATH,
    HOME: spec.uid === 0 ? '/root' : '/',
    // Read by the base image's interactive shells: a prompt with the node's name.
    ENV: '/etc/shrc',
    ...spec.env,
  };
  const environment = Object.entries(env).map(([name, value]) => `${name}=${value}`);
  return {
    terminal: spec.tty,
    ...(spec.tty ? { consoleSize: { width: spec.columns, height: spec.rows } } : {}),
    user: { uid: spec.uid, gid: spec.uid, umask: NODE_UMASK },
    args: spec.tty ? withTerminal(spec, environment, program) : spec.command,
    // Ignored by runc; the controller reads it to name the command.
    command: spec.command,
    env: environment,
    cwd: spec.workingDir,
    capabilities: { bounding: EXEC_CAPABILITIES, effective: capabilities, permitted: capabilities },
    noNewPrivileges: false,
  };
}

/**
 * runc switches ONLCR off on the terminal that it makes in the node. Programs and users expect it on, so it is restored
 * before the command begins, in an environment that no shell has changed. The wrapper also reports a missing or
 * unusable program in the words of start-failure.ts, because runc does not start the program here.
 */
const withTerminal = (
  spec: ExecSpec,
  environment: readonly string[],
  { clearsLineEnds }: LineEnds,
): readonly string[] => {
  const busybox = `${IN_NODE.runtime}/bin/busybox`;
  const lineEnds = clearsLineEnds ? `${afterRunc(busybox)}; ${busybox} stty onlcr; ` : '';
  const expectations = expected(spec);
  const first = expectations.length;
  const names = environment.map((_, index) => `e${index}`);
  const kept = names.map((name, index) => `${name}=\${${first + index}}`).join('; ');
  // By its path: of names busybox takes its own programs first, which would run in place of the node's.
  const start = `exec ${busybox} env -i ${names.map((name) => `"$${name}"`).join(' ')} "$file" "$@"`;
  return [
    busybox,
    'sh',
    '-c',
    `${lineEnds}${EXPECT_PROGRAM}; ${kept}; shift ${first - 1 + names.length}; ${start}`,
    ...expectations,
    ...environment,
    ...spec.command.slice(1),
  ];
};

/**
 * Waits, for a bounded number of looks, until runc has switched ONLCR off: it does so while the command already starts,
 * and would otherwise undo what is set here.
 */
const afterRunc = (busybox: string): string =>
  `n=0; while [ $n -lt ${MOST_LOOKS} ]; do case $(${busybox} stty -a) in *" -onlcr"*) break;; esac; n=$((n+1)); done`;
const MOST_LOOKS = 100;

/**
 * Builds `process.json` for a diagnosis that prints why the kernel does not run a program, in the program's environment
 * and as its user.
 */
export const ociDiagnosis = (spec: ExecSpec, program: LineEnds): object => ({
  ...ociExecProcess({ ...spec, tty: false }, program),
  args: [`${IN_NODE.runtime}/bin/busybox`, 'sh', '-c', `${EXPECT_PROGRAM}; exit 0`, ...expected(spec)],
});

/**
 * $0 and further arguments of EXPECT_PROGRAM: the program, and the messages if it is missing, can't be run, or lacks
 * its interpreter.
 */
const expected = (spec: ExecSpec): readonly string[] => [
  spec.command[0] ?? '',
  noProgram(spec).words,
  notExecutable(spec).words,
  noInterpreter(spec, '').words,
];

/** The kernel reads no more of a script's first line either. */
const MOST_FIRST_LINE = 255;

/** Leaves the program's path in `file`. Not by `command -v`, which finds busybox's own programs and words of the shell. */
const EXPECT_PROGRAM = [
  'case $0 in',
  '*/*) file=$0; if [ ! -e "$0" ]; then echo "$1"; exit 127; fi; if [ -d "$0" ] || [ ! -x "$0" ]; then echo "$2"; exit 126; fi;;',
  '*) file=; set -f; IFS=:; for folder in $PATH; do folder=${folder:-.};',
  'if [ -f "$folder/$0" ] && [ -x "$folder/$0" ]; then file=$folder/$0; break; fi; done; unset IFS;',
  'if [ -z "$file" ]; then echo "$1"; exit 127; fi;;',
  'esac;',
  `line=; if [ -f "$file" ] && [ -r "$file" ]; then IFS= read -r -n ${MOST_FIRST_LINE} line <"$file"; fi;`,
  'case $line in "#!"*)',
  'line=${line#??}; line=${line#"${line%%[! \t]*}"}; name=${line%%[ \t]*};',
  'if [ -n "$name" ] && [ ! -e "$name" ]; then',
  // Scripts from Windows end the line with a carriage return, which becomes part of the name.
  'case $name in *"\r") name=${name%?}\\\\r;; esac;',
  'printf "%s%s\\n" "$3" "$name"; exit 127; fi;;',
  'esac',
].join(' ');

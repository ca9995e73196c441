/** The OCI bundle of a node (opencontainers/runtime-spec 1.0): pure construction of `config.json`. */
import { memoryShares, PAGE_BYTES } from './memory-shares.js';
import type { ContainerLimits, ContainerSpec, ExecSpec } from '../runtime.js';
import type { OciProgram } from './programs.js';
import { nodeSeccomp } from './seccomp.js';
import { deviceOf } from '../volumes.js';
import { noInterpreter, noProgram, notExecutable } from '../start-failure.js';

/** Paths inside a node. Everything of Nexus is below one folder, so that any root file system can be an image. */
export const IN_NODE = {
  runtime: '/.nexus/rt',
  config: '/.nexus/config',
  volumeImage: '/.nexus/volume.img',
  run: '/.nexus/run',
  data: '/data',
} as const;

/**
 * Folders of the root that the first stage runs in. They are mount points and nothing else, so that the stage can't
 * find files of the image or of the node's volume. It assembles the node's own root there.
 */
export const STAGE_MOUNT_POINTS = ['proc', 'dev', 'sys', 'tmp', '.nexus', 'image', 'volume', 'root'] as const;

/** Folders that an image needs as mount points before it can be a read-only root. */
export const IMAGE_MOUNT_POINTS = ['proc', 'dev', 'sys', 'tmp', 'data', 'mnt', '.nexus'] as const;

/** Capabilities with which the first stage mounts the volume and drops its privileges. The agent keeps none. */
const FIRST_STAGE_CAPABILITIES = [
  'CAP_SYS_ADMIN',
  'CAP_CHOWN',
  'CAP_DAC_OVERRIDE',
  'CAP_FOWNER',
  'CAP_SETUID',
  'CAP_SETGID',
  'CAP_SETPCAP',
];

const EXEC_CAPABILITIES = [
  'CAP_CHOWN',
  'CAP_DAC_OVERRIDE',
  'CAP_FOWNER',
  'CAP_SETUID',
  'CAP_SETGID',
  'CAP_KILL',
  'CAP_NET_BIND_SERVICE',
];

/** PATH of commands in a node, including those that a person starts by hand with runc. */
const EXEC_PATH = '/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin';

const LOOP_MAJOR = 7;
const NODE_UMASK = 0o022;

interface BundleHost {
  /** Folder with STAGE_MOUNT_POINTS. */
  readonly stageRoot: string;
  readonly runtimeDir: string;
  readonly cgroupsPath: string;
  readonly cgroupLayout: 'v1' | 'v2';
}

export function ociConfig(spec: ContainerSpec, host: BundleHost): object {
  const capabilities = FIRST_STAGE_CAPABILITIES;
  const loopDevice = deviceOf(spec);
  return {
    ociVersion: '1.0.2',
    hostname: spec.hostname,
    root: { path: host.stageRoot, readonly: true },
    process: {
      terminal: false,
      user: { uid: 0, gid: 0, umask: NODE_UMASK },
      cwd: '/',
      args: [`${IN_NODE.runtime}/bin/busybox`, 'sh', `${IN_NODE.runtime}/first-stage.sh`],
      env: [
        `PATH=${EXEC_PATH}`,
        `NEXUS_LOOP_DEVICE=${loopDevice}`,
        `NEXUS_VOLUME_UUID=${spec.volumeUuid}`,
        `NEXUS_AGENT_UID=${spec.agentUid}`,
      ],
      // Inheritable: the last privileged step keeps these once the bounding set is empty.
      capabilities: {
        bounding: capabilities,
        effective: capabilities,
        permitted: capabilities,
        inheritable: ['CAP_SYS_ADMIN'],
      },
      noNewPrivileges: true,
    },
    mounts: mounts(spec, host),
    linux: {
      namespaces: ['pid', 'network', 'ipc', 'uts', 'mount', 'cgroup'].map((type) => ({ type })),
      cgroupsPath: host.cgroupsPath,
      // Applies to the node's own IPC namespace.
      sysctl: { 'kernel.shmall': String(memoryShares(spec.limits.memoryBytes).segmentsBytes / PAGE_BYTES) },
      // Allows exactly this node's loop device: the kernel refuses to attach any other.
      devices: [
        {
          path: `/dev/loop${loopDevice}`,
          type: 'b',
          major: LOOP_MAJOR,
          minor: loopDevice,
          fileMode: 0o600,
          uid: 0,
          gid: 0,
        },
      ],
      resources: {
        ...ociLimits(spec.limits, host.cgroupLayout),
        devices: [
          { allow: false, access: 'rwm' },
          { allow: true, type: 'b', major: LOOP_MAJOR, minor: loopDevice, access: 'rw' },
        ],
      },
      seccomp: nodeSeccomp(process.arch),
      maskedPaths: [
        '/proc/acpi',
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
      readonlyPaths: ['/proc/bus', '/proc/fs', '/proc/irq', '/proc/sys', '/proc/sysrq-trigger'],
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
  const bind = (destination: string, source: string, ...options: string[]): object => ({
    destination,
    type: 'bind',
    source,
    options: ['rbind', 'nosuid', 'nodev', ...options],
  });
  return [
    { destination: '/proc', type: 'proc', source: 'proc', options: ['nosuid', 'nodev', 'noexec'] },
    // Holds device nodes and links only, which take no blocks.
    tmpfs('/dev', 'strictatime', 'mode=755', 'size=64k'),
    {
      destination: '/dev/pts',
      type: 'devpts',
      source: 'devpts',
      options: ['nosuid', 'noexec', 'newinstance', 'ptmxmode=0666', 'mode=0620', 'gid=5'],
    },
    tmpfs('/dev/shm', 'noexec', 'nodev', 'mode=1777', `size=${sharedBytes}`),
    { destination: '/dev/mqueue', type: 'mqueue', source: 'mqueue', options: ['nosuid', 'noexec', 'nodev'] },
    { destination: '/sys', type: 'sysfs', source: 'sysfs', options: ['nosuid', 'noexec', 'nodev', 'ro'] },
    { destination: '/sys/fs/cgroup', type: 'cgroup', source: 'cgroup', options: ['nosuid', 'noexec', 'nodev', 'ro'] },
    tmpfs('/tmp', 'nodev', 'mode=1777', `size=${tmpBytes}`),
    tmpfs('/.nexus', 'nodev', 'mode=755', 'size=1m'),
    bind('/image', spec.rootfs, 'ro'),
    bind(IN_NODE.runtime, host.runtimeDir, 'ro'),
    bind(IN_NODE.config, spec.configDir, 'ro'),
    bind(IN_NODE.volumeImage, spec.volumePath, 'noexec'),
  ];
}

type LineEnds = Pick<OciProgram, 'clearsLineEnds'>;

/** `process.json` for `exec`: root of the node with few capabilities and none to gain. */
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
    noNewPrivileges: true,
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
  return [
    busybox,
    'sh',
    '-c',
    `${lineEnds}${EXPECT_PROGRAM}; shift 3; exec "$@"`,
    ...expected(spec),
    busybox,
    'env',
    '-i',
    ...environment,
    ...spec.command,
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

const EXPECT_PROGRAM = [
  'case $0 in',
  '*/*) file=$0; if [ ! -e "$0" ]; then echo "$1"; exit 127; fi; if [ -d "$0" ] || [ ! -x "$0" ]; then echo "$2"; exit 126; fi;;',
  '*) if ! file=$(command -v -- "$0"); then echo "$1"; exit 127; fi;;',
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

/**
 * Values of `--runtime`, and the kind of hosting that each means. Facts that the command line and `nexus
 * doctor` need before a controller runs; everything else of a kind of hosting is below controller/hosting/.
 */
import type { CgroupLayout } from '../cgroup/layout.js';
import { NexusError } from '../errors.js';

/** How a node lives on a host. A node's record says its own. */
export type HostingKind = 'contained' | 'process';

/** Abilities of one kind of node; no other code compares kinds or names of runtimes. */
export interface HostingAbilities {
  /** Nodes start from an image, which is their root file system. */
  readonly images: boolean;
  /** Python functions run in sandboxes. */
  readonly sandboxes: boolean;
  /** Whoever is root in a node is kept from the host and from other nodes. */
  readonly confinement: boolean;
  /** Nodes can be prepared before they are asked for. */
  readonly spares: boolean;
  /** Only root can make them, and the host has to bring what containers need. */
  readonly needsRoot: boolean;
}

export const HOSTING: Readonly<Record<HostingKind, HostingAbilities>> = {
  contained: { images: true, sandboxes: true, confinement: true, spares: true, needsRoot: true },
  process: { images: false, sandboxes: false, confinement: false, spares: false, needsRoot: false },
};

interface RuntimeTraits {
  readonly hosting: HostingKind;
  /** In the help of `--runtime` and of the setting. */
  readonly summary: string;
  /** First three bytes of the default instance's subnet, and the first byte of all others'. */
  readonly addresses: { readonly ofDefault: string; readonly firstByte: number };
  /** The OCI runtime that is started; Debian's package has its name. */
  readonly program?: {
    readonly name: string;
    readonly oldest: string;
    /** Refuses hosts with controllers on cgroup v1, alone or beside v2. */
    readonly needsUnifiedCgroups?: boolean;
  };
}

const OF_CONTAINERS = { ofDefault: '10.0.42', firstByte: 10 };

export const RUNTIMES = {
  runc: {
    hosting: 'contained',
    summary: 'real containers, needs root',
    addresses: OF_CONTAINERS,
    // The first whose exec takes a cgroup path.
    program: { name: 'runc', oldest: '1.1' },
  },
  crun: {
    hosting: 'contained',
    summary: 'real containers that start sooner, needs root and pure cgroup v2',
    addresses: OF_CONTAINERS,
    // Debian 12's; nothing is known of earlier ones.
    program: { name: 'crun', oldest: '1.8.1', needsUnifiedCgroups: true },
  },
  process: {
    hosting: 'process',
    summary: 'plain processes, no isolation',
    // Linux answers on all of 127.0.0.0/8 unasked.
    addresses: { ofDefault: '127.42.42', firstByte: 127 },
  },
} as const satisfies Readonly<Record<string, RuntimeTraits>>;

export type RuntimeName = keyof typeof RUNTIMES;

export const RUNTIME_NAMES = Object.keys(RUNTIMES) as [RuntimeName, ...RuntimeName[]];

export const traitsOf = (runtime: RuntimeName): RuntimeTraits => RUNTIMES[runtime];

export const abilitiesOf = (runtime: RuntimeName): HostingAbilities => HOSTING[RUNTIMES[runtime].hosting];

export const isRuntimeName = (value: unknown): value is RuntimeName =>
  typeof value === 'string' && Object.hasOwn(RUNTIMES, value);

/** Code: failed_precondition if the runtime's program can't work with the cgroups of this host. */
export function assertWorksWith(layout: CgroupLayout, runtime: RuntimeName): void {
  if (layout === 'v2' || traitsOf(runtime).program?.needsUnifiedCgroups !== true) return;
  throw new NexusError(
    'failed_precondition',
    `the runtime ${runtime} needs pure cgroup v2, and controllers are on v1 on this host`,
    {},
    { advice: { key: 'choose-runtime' } },
  );
}

/** `runc: real containers, needs root; process: ...` */
export const RUNTIMES_IN_WORDS = RUNTIME_NAMES.map((name) => `${name}: ${RUNTIMES[name].summary}`).join('; ');

/**
 * How nodes of one kind live on a host: their runtime, network, volumes, images, logs, addresses and the bounds of
 * their agents' silence, behind one interface, so that no other code distinguishes kinds.
 */
import type { AgentConfig } from '../../shared/config/agent-config.js';
import type { HostingAbilities, HostingKind } from '../../shared/config/runtimes.js';
import type { Settings } from '../../shared/config/settings.js';
import type { Logger } from '../../shared/log.js';
import type { ImageStore } from '../image/port.js';
import type { LogPlace, LogWriters } from '../log/port.js';
import type { LivenessLimits } from '../node/watch/liveness.js';
import type { NodeRecord } from '../store/port/store.js';
import type { ListeningSocket } from '../host/listening.js';
import type { NetworkFabric } from './network.js';
import type { HostingRecord } from './record.js';
import type { ContainerRuntime, ContainerSpec } from './runtime.js';
import type { VolumeProvisioner } from './volumes.js';

/** Folder of the built project. */
export interface Places {
  readonly dist: string;
  readonly project: string;
}

export interface HostingDeps {
  readonly settings: Settings;
  readonly places: Places;
  readonly log: Logger;
  readonly logs: LogWriters;
  readonly images: ImageStore;
}

/** One kind of hosting, before it is used. */
export interface HostingProfile {
  readonly kind: HostingKind;
  readonly can: HostingAbilities;
  /**
   * Called before anything of the instance is made. Code: failed_precondition, with advice (the host can't run nodes
   * with this runtime).
   */
  check(settings: Pick<Settings, 'runtime'>): Promise<void>;
  /** Checks the host and changes nothing. Code: failed_precondition (the host can't run this kind). */
  open(deps: HostingDeps): Promise<Hosting>;
}

/** Where a new node lives: what its slot decides. */
export interface Place {
  readonly ip: string;
  readonly hosting: HostingRecord;
}

/** The places of a node's agent, as its configuration names them. */
export type AgentPlaces = Pick<
  AgentConfig,
  'credsFile' | 'dataDir' | 'volume' | 'statusSocket' | 'cgroup' | 'networkInterface'
>;

export interface Hosting {
  readonly kind: HostingKind;
  readonly can: HostingAbilities;
  readonly runtime: ContainerRuntime;
  readonly network: NetworkFabric;
  readonly volumes: VolumeProvisioner;
  readonly images: ImageStore;
  readonly logs: LogWriters;
  /** How long an agent may be silent. */
  readonly liveness: LivenessLimits;
  /** Maximum number of nodes. */
  readonly slots: number;
  /**
   * Makes the shared parts of all nodes of the kind. Passes each one's inverse to `undo` before making it. Idempotent.
   * Code: failed_precondition, with advice.
   */
  prepare(undo: (name: string, run: () => Promise<void>) => void): Promise<void>;
  /** A place for a new volume in this slot, below `slots`. */
  placeIn(slot: number, volumeUuid: string): Place;
  /** `host:port` of a node's agent. */
  addressOf(node: Pick<NodeRecord, 'ip'>): string;
  logOf(node: Pick<NodeRecord, 'id'>): LogPlace;
  /** Returns the root file system for a node of this image; empty if nodes have none. Code: not_found. */
  rootfsOf(image: string): Promise<string>;
  /**
   * Claims what a start of the node needs of the host beside its slot, and returns the record with it; the node's run
   * folder exists. `release` succeeds if nothing is claimed. Code: resource_exhausted.
   */
  claim(node: NodeRecord): Promise<HostingRecord>;
  release(node: NodeRecord): Promise<void>;
  /** Releases what nodes that have no run folder have claimed: a controller that was killed may have left it. */
  sweep(): Promise<void>;
  /** Uid on the host that a node's agent runs as, once the node has its claims. */
  agentUid(node: NodeRecord): number;
  agentPlaces(node: NodeRecord): AgentPlaces;
  containerSpec(node: NodeRecord): Promise<Omit<ContainerSpec, 'output' | 'statusSocket'>>;
  /** Makes the status socket for an agent that can't be trusted to do so; undefined if the agent listens by itself. */
  listenForAgent(node: NodeRecord): Promise<ListeningSocket | undefined>;
}

/** All kinds of hosting that this controller has opened. */
export interface Hostings {
  /** The kind of new nodes. */
  readonly own: Hosting;
  readonly all: readonly Hosting[];
  /** Code: failed_precondition (the node's kind is not open). */
  of(node: Pick<NodeRecord, 'name' | 'hosting'>): Hosting;
}

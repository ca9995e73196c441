/**
 * A node's container: create, start, inspect, end. One adapter per technology.
 *
 * Order: create -> (network attach) -> start -> kill -> remove. `remove` may be called at any time, twice, and for a
 * container that never existed; it leaves no process, cgroup, mount or file of the container. Calls for different nodes
 * may run concurrently; the caller serializes calls for one node (exec excepted). Codes: failed_precondition (the host
 * cannot do it), not_found, internal.
 */
import type { Socket } from 'node:net';
import type { NodeId } from '../../shared/ids.js';

export interface ContainerLimits {
  readonly memoryBytes: number;
  /** Cgroup weight, 1 to 10000. */
  readonly cpuWeight: number;
  readonly pids: number;
}

export interface ContainerSpec {
  readonly nodeId: NodeId;
  readonly hostname: string;
  readonly limits: ContainerLimits;
  /** Uid and gid of the agent, as the node sees them. */
  readonly agentUid: number;
  /** First of the node's ids on the host, for kinds of nodes that have a range of their own. */
  readonly firstId?: number | undefined;
  /** Read-only root file system; empty for a runtime without images. */
  readonly rootfs: string;
  /** Image file or folder, as the volume port names it. */
  readonly volumePath: string;
  readonly volumeUuid: string;
  /** Loop device for the volume, for kinds of nodes that use one. */
  readonly loopDevice?: number | undefined;
  /** Folder with what is known of the node before its start; with `agent.json` and credentials from then on. */
  readonly configDir: string;
  /**
   * Receives standard output and error of the first stage and the agent. The caller owns it and closes it after
   * `create`.
   */
  readonly output: Socket | number;
  /**
   * Listening descriptor for the agent, which gets it as STATUS_SOCKET_FD. The caller owns it and closes it after
   * `create`.
   */
  readonly statusSocket?: number | undefined;
}

export const STATUS_SOCKET_FD = 3;

/** A process that can't be mistaken for a later one with the same number. */
export interface ProcessIdentity {
  readonly pid: number;
  /** Field 22 of /proc/<pid>/stat. */
  readonly startTicks: string;
}

export interface ExecSpec {
  readonly command: readonly string[];
  readonly tty: boolean;
  readonly columns: number;
  readonly rows: number;
  readonly env: Readonly<Record<string, string>>;
  readonly uid: number;
  readonly workingDir: string;
}

/**
 * A command running in a node. `exited` always resolves; no output arrives after it. A command that does not begin in
 * bounded time, whatever the node's root has done to it, is killed; its exit code is 126 then, and its output says why.
 */
export interface ExecHandle {
  /** With a terminal all output arrives as stdout. A listener's promise is the back-pressure. */
  onOutput(listener: (stream: 'stdout' | 'stderr', data: Buffer) => Promise<void>): void;
  /** Resolves when the command has taken it. */
  write(data: Uint8Array): Promise<void>;
  endInput(): void;
  resize(columns: number, rows: number): void;
  /** `name`: without SIG. */
  signal(name: string): void;
  /** Ends the command and everything that it started, at once. */
  kill(): Promise<void>;
  /** Exit code as in a shell: 128 + n for signal n. */
  readonly exited: Promise<number>;
}

export interface ContainerRuntime {
  /** Prepares what all containers share; refuses a host that cannot run them. Idempotent. */
  prepare(): Promise<void>;
  /**
   * Sets everything up. The agent may be loaded meanwhile, and waits for its configuration; nothing else of the node runs yet.
   * `began` may be called as soon as the first process and its namespaces exist, while the rest is still being made.
   */
  create(spec: ContainerSpec, signal: AbortSignal, began?: (first: ProcessIdentity) => void): Promise<ProcessIdentity>;
  /** Lets the agent run. Its configuration is in its folder. */
  start(nodeId: NodeId, signal: AbortSignal): Promise<void>;
  /** Whether the agent has been loaded and waits for its configuration. */
  isWaiting(first: ProcessIdentity): boolean;
  /**
   * Makes a container that was not started one of a certain node: its host name, the files of its names, and its processor weight.
   * The agent, whose configuration is in its folder, runs from then on.
   * Before anything but the agent runs in it. Memory and processes stay limited as they are.
   */
  assign(
    first: ProcessIdentity,
    spec: Pick<ContainerSpec, 'nodeId' | 'hostname' | 'limits' | 'configDir'>,
  ): Promise<void>;
  /** SIGKILL to the container's first process; success when there is none. */
  kill(nodeId: NodeId, identity: ProcessIdentity): Promise<void>;
  remove(nodeId: NodeId): Promise<void>;
  /** New limits for a running container. */
  update(nodeId: NodeId, limits: ContainerLimits): Promise<void>;
  /** Every container of this instance on the host, living or dead. */
  list(): Promise<readonly NodeId[]>;
  exec(nodeId: NodeId, spec: ExecSpec): Promise<ExecHandle>;
  /**
   * Ends commands that run in the container: SIGTERM, up to `graceMs`, then SIGKILL; resolves when none is left.
   * `orphaned`: only those of an earlier controller, whose input and output ended with it. Returns their command lines.
   * Success if there is no such container.
   */
  endCommands(nodeId: NodeId, graceMs: number, which?: 'all' | 'orphaned'): Promise<readonly string[]>;
  /** Whether the kernel killed a process of the container for lack of memory; call before `remove`. */
  wasOutOfMemory(nodeId: NodeId): Promise<boolean>;
  /** Removes what `prepare` made. */
  destroy(): Promise<void>;
  /** Isolation and limits that this runtime lacks, for people; empty if none. */
  readonly caveats: readonly string[];
}

/**
 * A node's container: made, started, looked at, ended. One adapter per technology.
 *
 * Order: create -> (network attach) -> start -> kill -> remove. `remove` may be called at any time, twice, and for a
 * container that never was; it leaves no process, cgroup, mount or file of the container. Calls for different nodes
 * may run concurrently; calls for one node are serialised by the caller (exec excepted).
 * Codes: failed_precondition (the host cannot do it), not_found, internal.
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
  /** Host uid and gid of the agent after it has dropped its privileges. */
  readonly agentUid: number;
  /** Read-only root file system; empty for a runtime without images. */
  readonly rootfs: string;
  /** Image file or folder, as the volume port names it. */
  readonly volumePath: string;
  readonly volumeUuid: string;
  /** Where nodes attach their volume to one. */
  readonly loopDevice?: number | undefined;
  /** Folder with agent.json and agent.creds. */
  readonly configDir: string;
  /** Standard output and error of the first stage and the agent; the caller's, who closes it after `create`. */
  readonly output: Socket | number;
  /** A descriptor that listens for the agent, which has it as STATUS_SOCKET_FD; the caller's, who closes it after `create`. */
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

/** A command running in a node. `exited` always resolves; after it no more output comes. */
export interface ExecHandle {
  /** With a terminal everything arrives as stdout. The promise returned by a listener is the back-pressure. */
  onOutput(listener: (stream: 'stdout' | 'stderr', data: Buffer) => Promise<void>): void;
  /** Resolves when the command has taken it. */
  write(data: Uint8Array): Promise<void>;
  endInput(): void;
  resize(columns: number, rows: number): void;
  /** `name` without SIG. */
  signal(name: string): void;
  /** Ends the command and everything that it started, at once. */
  kill(): Promise<void>;
  /** As a shell counts: 128 + n for signal n. */
  readonly exited: Promise<number>;
}

export interface ContainerRuntime {
  /** Prepares what all containers share; refuses a host that cannot run them. Idempotent. */
  prepare(): Promise<void>;
  /** Everything is set up but the first stage does not run yet. */
  create(spec: ContainerSpec, signal: AbortSignal): Promise<ProcessIdentity>;
  start(nodeId: NodeId, signal: AbortSignal): Promise<void>;
  /** SIGKILL to the container's first process; success when there is none. */
  kill(nodeId: NodeId, identity: ProcessIdentity): Promise<void>;
  remove(nodeId: NodeId): Promise<void>;
  /** New limits for a running container. */
  update(nodeId: NodeId, limits: ContainerLimits): Promise<void>;
  /** Every container of this instance on the host, living or dead. */
  list(): Promise<readonly NodeId[]>;
  exec(nodeId: NodeId, spec: ExecSpec): Promise<ExecHandle>;
  /**
   * Ends commands that run in the container: SIGTERM, up to `graceMs`, then SIGKILL; resolves when none of them is left.
   * `orphaned`: those alone that another controller started, which is gone with their input and output. Returns their
   * command lines. Success when there is no such container.
   */
  endCommands(nodeId: NodeId, graceMs: number, which?: 'all' | 'orphaned'): Promise<readonly string[]>;
  /** Whether the kernel killed something in the container for want of memory; asked before `remove`. */
  wasOutOfMemory(nodeId: NodeId): Promise<boolean>;
  /** Removes what `prepare` made. */
  dispose(): Promise<void>;
  /** What this runtime does not enforce, for people; empty when it does all. */
  readonly caveats: readonly string[];
}

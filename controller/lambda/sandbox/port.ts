/**
 * Sandboxes for one invocation each: made warm (the interpreter is up and has run nothing), started once, gone afterwards.
 *
 * Order: prepare -> create -> (start) -> end. `end` may be called at any time and twice; when it has resolved no process,
 * cgroup, mount or file of the sandbox is left. Calls for different sandboxes may run concurrently.
 * Codes: failed_precondition (this host or image cannot), unavailable (the node's cgroup is gone; the template has ended),
 * deadline_exceeded, internal.
 */
import type { NodeId } from '../../../shared/ids.js';

export interface SandboxLimits {
  readonly memoryBytes: number;
}

/** A file that the code finds at /mnt<path>. */
export interface SandboxFile {
  /** Absolute, of the caller's file system. */
  readonly path: string;
  readonly size: number;
  /** Exactly `size` bytes; asked for once, when it is their turn. */
  content(): Promise<Uint8Array>;
}

export interface Invocation {
  readonly code: string;
  /** JSON text; undefined: none is given. */
  readonly event: string | undefined;
  readonly stdin: Uint8Array;
  readonly files: readonly SandboxFile[];
  readonly memoryBytes: number;
}

export type OutOfMemory = false | 'limit' | 'node';

export interface SandboxEnd {
  /** As a shell counts: 128 + n for signal n. */
  readonly exitCode: number;
  readonly peakMemoryBytes: number;
  /** The kernel killed it for want of memory: it came to its own limit, or its node had none left before. */
  readonly outOfMemory: OutOfMemory;
  /** Its runtime went away under it, so that nobody knows how the code ended. */
  readonly isLost: boolean;
}

/** `result`: what the code hands back apart from what it prints. The code can reach all three, so none is to be trusted. */
export type SandboxStream = 'stdout' | 'stderr' | 'result';

export interface Sandbox {
  readonly nodeId: NodeId;
  /**
   * Hands the invocation over. `onOutput` gets pieces in order until `ended`. At most once; a second call throws.
   * Code: unavailable when the sandbox ended while it waited.
   */
  start(invocation: Invocation, onOutput: (stream: SandboxStream, data: Buffer) => void): Promise<void>;
  /** Resolves with all output delivered, nothing left running and the cgroup gone; never rejects. */
  readonly ended: Promise<SandboxEnd>;
  /** `end` was called before it had ended. */
  readonly wasEnded: boolean;
  /** Kills whatever runs; resolves when nothing is left. */
  destroy(): Promise<void>;
}

export interface SandboxRuntime {
  /** Removes what an earlier controller left on these nodes and gets ready to make sandboxes. Idempotent. */
  prepare(nodes: readonly NodeId[]): Promise<void>;
  /** Bytes that processes of the node use which are no sandbox's; undefined where that can't be told. Never rejects. */
  memoryBesides(node: NodeId): Promise<number | undefined>;
  /** Resolves with the interpreter up. */
  create(node: NodeId, limits: SandboxLimits, signal: AbortSignal): Promise<Sandbox>;
  /** Ends every sandbox and the template. */
  destroy(): Promise<void>;
}

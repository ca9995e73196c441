/**
 * What the transfer core promises the doors, and what it needs of the controller. A door of any protocol authenticates
 * its client and states the result as an Identity; the core never sees how, nor how the bytes came.
 *
 * - Bounds: one limit applies to all transfers that run at once, another to those of one account; excess ones queue, fairly
 *   between accounts. Nothing of a transfer is read or sent before its turn. Size and pace of the bytes are the door's to bound, since its protocol knows what was announced: an async iterable that throws ends the transfer.
 * - Concurrency: all methods may be called at any time; transfers do not know of each other.
 * - Codes: those of the controller and of the agents, those that the bytes throw; unavailable (too many are queued),
 *   cancelled (`signal`), data_loss.
 */
import type { File } from '../../shared/gen/nexus/v1/file.js';
import type { FsServiceClient } from '../../shared/gen/nexus/v1/fs.js';
import type { FileCalls } from '../../shared/rpc/file-catalogue.js';

/** On whose behalf bytes move. A value: whatever makes one has authenticated its client. */
export interface Identity {
  /** Account that the files belong to; bounds are counted per account. */
  readonly account: string;
  /** What shows the controller who calls, with every call; never read here. */
  readonly credential: string;
  /** Where the request came from, for the controller's bounds per address and for both logs. */
  readonly origin: { readonly address: string; readonly requestId: string };
}

/** What received bytes become. */
export type Target = FileTarget | PathTarget;

interface Copies {
  /** Copies of each chunk; 0: the cluster's default. */
  readonly replicas: number;
}

/** A file by its id alone. */
interface FileTarget extends Copies {
  readonly kind: 'file';
  readonly name: string;
}

/** A file in the account's tree. */
interface PathTarget extends Copies, Placement {
  readonly kind: 'path';
}

export interface Placement {
  /** Absolute; empty: not known before the bytes have come, and then `ReceiveOptions.placement` says it. */
  readonly path: string;
  /** Replace a file that is there. */
  readonly overwrite: boolean;
  /** Make missing folders above it. */
  readonly parents: boolean;
}

export interface ReceiveOptions {
  /** Called once, when the transfer has its turn: it may read the beginning of the bytes to know. */
  readonly target: () => Target | Promise<Target>;
  /** Exact size, bytes; 0: unknown. Room for it is reserved. */
  readonly sizeBytes: number;
  /** The bytes are certainly no more than this, and probably not much less; 0: unknown. */
  readonly atMostBytes: number;
  /**
   * Sizes of the file's chunks in order, each 1 byte to CHUNK_SIZE_BYTES; undefined: all but the last are full. The bytes
   * end with them or before, and the last chunk then has what is left. REST names none; it is for protocols whose
   * clients send a file in parts. Code: invalid_argument (a size out of bounds, bytes behind the last one).
   */
  readonly chunkSizes?: Iterable<number>;
  /**
   * Called once, when every byte is stored and before the file can be seen. Returns the place in the tree if the target
   * had none. If it rejects, the upload is undone.
   */
  readonly placement?: () => Promise<Placement | undefined>;
  /** Cancels the transfer; what was stored is undone. */
  readonly signal: AbortSignal;
}

/** Content to send. */
export type Source =
  | { readonly kind: 'file'; readonly id: string }
  /** Pinned while it is open: the file may meanwhile be replaced or removed. */
  | { readonly kind: 'path'; readonly path: string };

/** `start` is the first byte, `end` the one after the last; within the file. */
export interface ByteRange {
  readonly start: number;
  readonly end: number;
}

/** Content that was opened for an identity. Dispose it; running `send`s have then ended. */
export interface Content extends AsyncDisposable {
  /** Its id names these very bytes for ever. */
  readonly file: File;
  readonly name: string;
  /** Reports as `send` does, before it sends anything, whether the bytes can be read, but takes no turn. */
  assertReadable(range?: ByteRange): Promise<void>;
  /**
   * Yields the bytes in order at the reader's pace; each was checked against its chunk's sum. The first piece comes only
   * once it can be read, so that a failure before it can still be reported. A piece may be overwritten as soon as the
   * next one is asked for: copy what has to last longer, and put no look-ahead (Readable.from) over it.
   */
  send(range?: ByteRange): AsyncGenerator<Buffer, void, undefined>;
}

/** The calls of one transfer. */
export interface TransferCalls extends FileCalls {
  readonly fs: FsServiceClient;
}

/** Opens the way to the controller for one identity; its calls end with `signal`. */
export interface CallsFor {
  session(scope: {
    readonly token: string;
    readonly address: string;
    readonly requestId: string;
    readonly signal: AbortSignal;
  }): TransferCalls;
}

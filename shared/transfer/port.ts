/** Calls that file transfers need from a controller. The CLI makes them over gRPC; other callers may differ. */
import type { ChunkRoute, ChunkTarget } from './route.js';
import type { ByteSource } from './source.js';
import type { ByteRange, ChunkRange } from './chunk-range.js';

export type { ChunkTarget };

export interface ChunkGrant {
  readonly index: number;
  readonly chunkId: string;
  /** The chunk is sent to the first one. */
  readonly targets: readonly ChunkTarget[];
}

export interface ChunkReceipt {
  readonly index: number;
  readonly receipt: string;
}

export interface ChunkSource {
  readonly index: number;
  readonly chunkId: string;
  readonly size: number;
  readonly md5: string;
  /** Offset of the chunk's first byte in the file; needed for ranges of a file with explicit sizes. */
  readonly offset?: number;
  readonly replicas: readonly ChunkTarget[];
}

export interface GrantRequest {
  readonly count: number;
  /**
   * Index of the first one. Chunks from there on that were already granted, in a reply that was lost, are granted
   * again.
   */
  readonly fromIndex?: number;
  /** Sizes of the new chunks, one for each, if the upload was opened with explicit sizes. */
  readonly sizes?: readonly number[];
  readonly retry: readonly { readonly index: number; readonly failedNodeIds: readonly string[] }[];
  readonly receipts: readonly ChunkReceipt[];
}

export interface OpenedUpload {
  readonly uploadId: string;
  readonly fileId?: string;
  /** The upload is undone when its sender is silent for this long, ms; undefined or 0: never. */
  readonly leaseMs?: number;
}

/** The catalogue that places chunks also knows how they are reached. */
interface Reaching {
  /** Undefined: nodes are reached at their own addresses. */
  readonly route?: ChunkRoute;
}

export interface UploadCatalogue<File> extends Reaching {
  openUpload(request: {
    readonly name: string;
    readonly replicas: number;
    readonly expectedSize: number;
    readonly explicitSizes: boolean;
  }): Promise<OpenedUpload>;
  grantChunks(uploadId: string, request: GrantRequest): Promise<readonly ChunkGrant[]>;
  commitUpload(
    uploadId: string,
    request: {
      readonly size: number;
      readonly chunksCount: number;
      readonly receipts: readonly ChunkReceipt[];
      /** Id of the resulting file, if `openUpload` returned it. */
      readonly fileId?: string;
    },
  ): Promise<File>;
  abortUpload(uploadId: string): Promise<void>;
}

export interface DownloadCatalogue extends Reaching {
  /** Reports a replica that is missing or damaged. Never rejects, as it only informs. */
  reportReplica(chunkId: string, nodeId: string): Promise<void>;
  /**
   * Returns the chunks from `fromIndex` on, at most `count`. Rejects, too, if one before `untilIndex` can't be read
   * now.
   */
  chunkSources(file: string, fromIndex: number, count: number, untilIndex?: number): Promise<readonly ChunkSource[]>;
  /** Finds the chunks that hold these bytes. */
  findChunks(file: string, range: ByteRange): Promise<ChunkRange>;
}

export interface UploadRequest {
  readonly name: string;
  /** 0: the cluster's default. */
  readonly replicas: number;
  /** Bytes; 0: unknown. */
  readonly expectedSize: number;
  /** Set if no more bytes than these can come: a small file then needs little memory. */
  readonly atMostBytes?: number;
  /**
   * Sizes of the chunks in order, each 1 to CHUNK_SIZE_BYTES; undefined: all but the last are full. The source ends with
   * them or before, in which case the last chunk has what is left. It is asked for a size when the bytes before it were
   * read, so that a part of unknown length can be cut as it comes.
   */
  readonly chunkSizes?: Iterable<number>;
  readonly source: ByteSource;
  readonly signal: AbortSignal;
  /** Called with each chunk's bytes when it is stored. */
  readonly onProgress?: (bytes: number) => void;
}

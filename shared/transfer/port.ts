/** What moving files needs from a controller; the CLI has it over gRPC, others may have it otherwise. */
import type { ChunkRoute } from './route.js';
import type { ByteSource } from './source.js';

export interface ChunkTarget {
  readonly nodeId: string;
  readonly nodeName: string;
  /** host:port of the agent. */
  readonly address: string;
  readonly token: string;
}

export interface ChunkGrant {
  readonly index: number;
  readonly chunkId: string;
  /** The first is the one to send to. */
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
  readonly replicas: readonly ChunkTarget[];
}

export interface GrantRequest {
  readonly count: number;
  /** The index of the first of them. Chunks from there on that were granted already, in a reply that was lost, are granted again. */
  readonly fromIndex?: number;
  readonly retry: readonly { readonly index: number; readonly failedNodeIds: readonly string[] }[];
  readonly receipts: readonly ChunkReceipt[];
}

export interface OpenedUpload {
  readonly uploadId: string;
  readonly fileId?: string;
  /** An upload whose sender is silent for so long is undone, ms; undefined or 0: it is not. */
  readonly leaseMs?: number;
}

/** Whoever places chunks also knows how they are reached. */
interface Reaching {
  /** Undefined: nodes are reached at their own addresses. */
  readonly route?: ChunkRoute;
}

export interface UploadCatalogue<File> extends Reaching {
  openUpload(request: {
    readonly name: string;
    readonly replicas: number;
    readonly expectedSize: number;
  }): Promise<OpenedUpload>;
  grantChunks(uploadId: string, request: GrantRequest): Promise<readonly ChunkGrant[]>;
  commitUpload(
    uploadId: string,
    request: {
      readonly size: number;
      readonly chunksCount: number;
      readonly receipts: readonly ChunkReceipt[];
      /** What the upload becomes, where the catalogue said so when it was opened. */
      readonly fileId?: string;
    },
  ): Promise<File>;
  abortUpload(uploadId: string): Promise<void>;
}

export interface DownloadCatalogue extends Reaching {
  /** A replica was not what it should be. Never rejects: it only tells. */
  reportReplica(chunkId: string, nodeId: string): Promise<void>;
  /** The chunks from `fromIndex` on, at most `count`. Fails, too, when one up to before `untilIndex` can't be read now. */
  chunkSources(file: string, fromIndex: number, count: number, untilIndex?: number): Promise<readonly ChunkSource[]>;
}

export interface UploadRequest {
  readonly name: string;
  /** 0: the cluster's default. */
  readonly replicas: number;
  /** Bytes; 0: unknown. */
  readonly expectedSize: number;
  /** Where it is certain that no more than these will come: a small file then needs little memory. */
  readonly atMostBytes?: number;
  readonly source: ByteSource;
  readonly signal: AbortSignal;
  /** Called with each chunk's bytes when it is stored. */
  readonly onProgress?: (bytes: number) => void;
}

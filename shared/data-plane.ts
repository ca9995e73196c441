/**
 * The agent's HTTP/1.1 data plane, as both ends must know it.
 *
 * PUT /chunks/<chunk id>   Content-Length and X-Nexus-MD5 required, `Authorization: Bearer <write token>`;
 *                          201 with a JSON StoredReply once the chunk is durable; 200 if it already was.
 * GET /chunks/<chunk id>   `Authorization: Bearer <read token>`; 200 with Content-Length and X-Nexus-MD5.
 * POST /packs              many small chunks in one request. The body is the length of a PackHead (4 bytes, big endian), the
 *                          PackHead as JSON, and the bytes of its chunks in order. 200 with a PackReply once all chunks that
 *                          it names are durable. Agents of versions before answer `not_found`.
 * GET /healthz, /inspect, /metrics   no token: they tell nothing that is stored.
 * Errors: JSON ErrorReply with the status that shared/errors.ts gives for the code.
 */
import { isErrorCode, NexusError } from './errors.js';
import { plainText } from './plain-text.js';

export const MD5_HEADER = 'x-nexus-md5';
/** Through the gateway, where `authorization` is the user's own token: the chunk token, without a scheme. */
export const CHUNK_TOKEN_HEADER = 'x-nexus-chunk-token';

export const chunkPath = (chunkId: string): string => `/chunks/${chunkId}`;

/** Where the gateway takes what is for a node: the same methods, headers and answers. */
export const relayedChunkPath = (nodeId: string, chunkId: string): string => `/chunks/${nodeId}/${chunkId}`;

export interface StoredReply {
  readonly size: number;
  readonly md5: string;
  /** One for each replica that is durable, this agent's first. */
  readonly receipts: readonly string[];
  /** Node ids of forward targets that failed. */
  readonly failed_nodes: readonly string[];
}

export const PACK_PATH = '/packs';

export interface PackHead {
  /** A token for a pack. */
  readonly token: string;
  readonly chunks: readonly { readonly chunk: string; readonly size: number; readonly md5: string }[];
}

export interface PackReply {
  /** One of each node that has stored some of the chunks; it names them. */
  readonly receipts: readonly string[];
  /** Chunks that a node, by its id, did not store, and why. */
  readonly failures: readonly {
    readonly node: string;
    readonly chunk: string;
    readonly code: string;
    readonly error: string;
  }[];
}

export interface ErrorReply {
  readonly error: string;
  readonly code: string;
}

/** Nobody has more copies than this. */
const MAX_LISTED = 64;

const isTexts = (value: unknown): value is readonly string[] =>
  Array.isArray(value) && value.length <= MAX_LISTED && value.every((item) => typeof item === 'string');

function objectIn(text: string): Readonly<Record<string, unknown>> {
  try {
    const value: unknown = JSON.parse(text);
    return typeof value === 'object' && value !== null ? (value as Record<string, unknown>) : {};
  } catch {
    return {};
  }
}

/** A node's root can speak for its agent: an answer that is none fails this copy alone. Code: unavailable. */
export function storedReplyIn(text: string): StoredReply {
  const { size, md5, receipts, failed_nodes: failed = [] } = objectIn(text);
  if (typeof size === 'number' && typeof md5 === 'string' && isTexts(receipts) && isTexts(failed))
    return { size, md5, receipts, failed_nodes: failed };
  throw new NexusError('unavailable', 'its answer is invalid');
}

/** Code: unavailable, as of storedReplyIn. */
export function packReplyIn(text: string): PackReply {
  const { receipts, failures } = objectIn(text);
  if (isTexts(receipts) && Array.isArray(failures)) return { receipts, failures: failures as PackReply['failures'] };
  throw new NexusError('unavailable', 'its answer is invalid');
}

/** The refusal in an answer, in one line; undefined: it is none of an agent's. */
export function refusalIn(text: string): NexusError | undefined {
  const { code, error } = objectIn(text);
  if (typeof code !== 'string' || !isErrorCode(code) || typeof error !== 'string') return undefined;
  return new NexusError(code, plainText(error));
}

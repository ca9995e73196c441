/** Bounds that both sides of a boundary must agree on. Each carries its reason; relations are asserted below. */
import assert from 'node:assert/strict';

export const KIB = 1024;
export const MIB = 1024 * KIB;
export const GIB = 1024 * MIB;

/** Room on a disk with less than which a log line, or a file of a database, finds none: it counts as full. */
export const FULL_DISK_BYTES = 64 * KIB;

/** Bytes in every chunk but a file's last: large enough to amortise a round trip, small enough to hold a few in memory. */
export const CHUNK_SIZE_BYTES = 10 * MIB;
/** Chunks of a file whose sender names their sizes: many small ones would cost more than their bytes. */
export const MAX_NAMED_CHUNKS = 100_000;

/** Chunks one GrantChunks call may ask for: bounds the transaction and the reply. */
export const MAX_GRANTS_PER_CALL = 64;

/** Chunks one OpenDownload page may hold: keeps the reply far below gRPC's 4 MiB message limit. */
export const MAX_SOURCES_PER_PAGE = 256;

/** Small files that are stored together, and their bytes in all: a pack of them is one chunk to the planner of places. */
export const MAX_PACKED_FILES = 128;
export const MAX_PACK_BYTES = 8 * MIB;
/** Longest answer to one: a receipt of each of the most replicas, with all of its chunks. */
export const MAX_PACK_REPLY_BYTES = 512 * KIB;
/** Larger ones gain nothing by company: their bytes cost more than their calls. */
export const MAX_PACKED_FILE_BYTES = 256 * KIB;

/**
 * Uploads that one user has open at once, and all users together: each holds quota, room on nodes and rows. A user may
 * send a folder from several machines.
 */
export const MAX_OPEN_UPLOADS_PER_USER = 1024;
export const MAX_OPEN_UPLOADS = 16 * MAX_OPEN_UPLOADS_PER_USER;

/** How long a chunk token is valid, ms: a chunk takes well under a minute even on a slow, busy disk. */
export const CHUNK_TOKEN_TTL_MS = 10 * 60 * 1000;

/** Distinct nodes one chunk can be on. */
export const MAX_REPLICAS = 8;

export const MIN_MEMORY_MB = 32;
/** Sparse: it takes of the host what is written. */
export const DEFAULT_STORAGE_BYTES = 1024 * MIB;
export const DEFAULT_MEMORY_MB = 128;
/** Spares are refilled one after the other: more would not be ready sooner. */
export const MAX_SPARE_NODES = 32;
export const DEFAULT_CPU_WEIGHT = 512;
export const MAX_CPU_WEIGHT = 10_000;
/** Threads count: the agent alone has about a dozen. */
export const DEFAULT_PIDS_LIMIT = 512;
export const MIN_PIDS_LIMIT = 32;
export const MAX_PIDS_LIMIT = 1_000_000;
/** Below this ext4's own structures leave no room for a chunk. */
export const MIN_STORAGE_BYTES = 32 * MIB;
export const MAX_STORAGE_BYTES = 16 * 1024 * GIB;

/** Below it a sandbox's interpreter does not come up. */
export const MIN_LAMBDA_MEMORY_MB = 16;

/** Between two heartbeats of an agent, where there are few nodes; see controller/node/watch/pace.ts. */
export const HEARTBEAT_INTERVAL_MS = 1000;
/** Bounds how late the silence of an agent shows, however many nodes there are. */
export const SLOWEST_HEARTBEAT_MS = 5000;
/** Intervals of heartbeats are multiples of it, so that many agents share few moments at which they wake. */
export const HEARTBEAT_GRID_MS = 250;
/** Between the figures of a node. */
export const REPORT_INTERVAL_MS = 5000;

/** Work of one kind, in one process, that waits for its turn: far more than callers that wait for an answer. */
export const MAX_WAITING_FOR_TURN = 10_000;

/** The largest user and group id that a node has; nobody's. */
export const LARGEST_NODE_ID = 65_534;

/** Labels of one node. */
export const MAX_LABELS = 32;
/** Bounds the name of an entry of the virtual file system, as on Linux. */
export const MAX_NAME_BYTES = 255;
export const MAX_PATH_BYTES = 4096;
/** Bytes of a raw file's name. */
export const MAX_FILE_NAME_BYTES = 255;

assert(MAX_PACK_BYTES <= CHUNK_SIZE_BYTES, 'a pack must fit where a chunk does');
assert(MAX_PACKED_FILE_BYTES <= MAX_PACK_BYTES, 'a pack must hold the largest of its files');
assert(MAX_OPEN_UPLOADS_PER_USER < MAX_OPEN_UPLOADS, 'one user must not have all uploads');
assert(MIN_STORAGE_BYTES > 2 * CHUNK_SIZE_BYTES, 'the smallest volume must hold a chunk beside its temporary file');

/** Records as the store keeps them, with values that are all different from the defaults. */
import type { ChunkId, FileId, NodeId, UploadId } from '../../shared/ids.js';
import { newChunkId, newFileId, newNodeId, newUploadId } from '../../shared/ids.js';
import type {
  FileRecord,
  FileStore,
  NodeRecord,
  PlacedChunk,
  UploadRecord,
} from '../../controller/store/port/store.js';
import { CHUNK_SIZE_BYTES } from '../../shared/limits.js';

export const nodeRecord = (name: string, slot: number): NodeRecord => ({
  id: newNodeId(),
  name,
  ip: `10.0.42.${slot + 2}`,
  status: 'Creating',
  statusReason: 'being made',
  desired: 'running',
  memoryMb: 128,
  cpuWeight: 512,
  pidsLimit: 100,
  storageBytes: 5_000_000_000_000,
  image: 'base',
  labels: { zone: 'a', 'with "quotes"': "it's" },
  cordoned: true,
  draining: true,
  receiptKey: 'a2V5',
  hosting: {
    kind: 'contained',
    slot,
    loopDevice: 100 + slot,
    volumeUuid: '0b7a2c1e-3f7d-4e0a-9d37-0d5a4f2f6c11',
    process: { pid: 4711, startTicks: '123456789012' },
    bootId: 'boot',
  },
  createdAt: 1_795_507_200_123,
});

export const uploadingFile = (change: Partial<FileRecord> = {}): FileRecord => ({
  id: newFileId(),
  kind: 'raw',
  name: 'data.bin',
  owner: 'admin',
  size: 0,
  chunksCount: 0,
  replicas: 1,
  status: 'uploading',
  createdAt: 1_795_507_200_000,
  explicitSizes: false,
  ...change,
});

export const uploadOf = (file: FileRecord, change: Partial<UploadRecord> = {}): UploadRecord => ({
  id: newUploadId(),
  fileId: file.id,
  replicas: file.replicas,
  expectedSize: 0,
  granted: 0,
  expiresAt: 1000,
  reserved: 0,
  parentId: '',
  entryName: '',
  overwrite: false,
  ...change,
});

export const placedChunk = (index: number, nodeIds: readonly NodeId[]): PlacedChunk => ({
  id: newChunkId(),
  index,
  nodeIds,
});

export const MD5 = 'd41d8cd98f00b204e9800998ecf8427e';

export interface OpenedUpload {
  readonly file: FileRecord;
  readonly id: UploadId;
  readonly chunks: readonly PlacedChunk[];
}

/** An upload with one chunk on each of the given groups of nodes. */
export async function openUpload(
  store: FileStore,
  places: readonly (readonly NodeId[])[],
  change: Partial<FileRecord> = {},
): Promise<OpenedUpload> {
  const file = uploadingFile(change);
  const upload = uploadOf(file);
  await store.openUpload(file, upload);
  const placed = places.map((nodeIds, index) => placedChunk(index, nodeIds));
  await store.recordGrants(upload.id, { received: [], moved: [], placed, expiresAt: 1000 });
  return { file, id: upload.id, chunks: placed };
}

/** A whole file: full chunks but for the last, which has 5 bytes. */
export async function storeFile(
  store: FileStore,
  places: readonly (readonly NodeId[])[],
  change: Partial<FileRecord> = {},
): Promise<{ file: FileRecord; chunkIds: readonly ChunkId[] }> {
  const { id, chunks } = await openUpload(store, places, change);
  const sizeOf = (index: number): number => (index === places.length - 1 ? 5 : CHUNK_SIZE_BYTES);
  const received = chunks.map((chunk) => ({
    chunkId: chunk.id,
    size: sizeOf(chunk.index),
    md5: MD5,
    nodeIds: chunk.nodeIds,
  }));
  const size = received.reduce((sum, chunk) => sum + chunk.size, 0);
  const file = await store.commitUpload(id, { received, size, chunksCount: chunks.length });
  return { file, chunkIds: chunks.map((chunk) => chunk.id) };
}

export const nodeId = (number: number): NodeId => number.toString(16).padStart(12, '0') as NodeId;
export const fileId = (text: string): FileId => text.padEnd(16, '0') as FileId;

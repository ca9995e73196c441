/** The file half of the store in memory. Each method is one step on the tables it is given. */
import { toNexusError, type NexusError } from '../../shared/errors.js';
import type { FileId, NodeId, UploadId } from '../../shared/ids.js';
import { CHUNK_SIZE_BYTES } from '../../shared/limits.js';
import {
  announcedBytes,
  checkComplete,
  movedMeanwhile,
  noSuchFile,
  noSuchUpload,
} from '../../controller/store/port/file-rules.js';
import { doomFile, entriesOf, forgetBareChunks, type FileTables, type Run } from './store-tables.js';
import { charge, dropFile, ensureAccount, publishEntry } from './store-entries.js';
import { assertPlaced, isContent } from '../../controller/store/port/fs-rules.js';
import type {
  ChunkRecord,
  CommittedUpload,
  DoomedReplica,
  FileRecord,
  FileStore,
  PackedUpload,
  ReceivedChunk,
  ReplicaState,
  StorageTotals,
  UploadPlace,
  UploadRecord,
} from '../../controller/store/port/store.js';

export class FakeFileStore implements FileStore {
  constructor(
    private readonly read: Run,
    private readonly write: Run,
  ) {}

  openUpload(file: FileRecord, upload: UploadRecord, limit = 0): Promise<void> {
    return this.write((tables) => {
      ensureAccount(tables, file.owner, file.createdAt);
      charge(tables, file.owner, { reserved: upload.reserved }, limit);
      tables.files.set(file.id, file);
      tables.uploads.set(upload.id, upload);
    });
  }

  async openUploads(
    uploads: readonly PackedUpload[],
    { limit, reason }: { readonly limit: number; readonly reason: string },
  ): Promise<readonly (NexusError | undefined)[]> {
    const outcomes: (NexusError | undefined)[] = [];
    for (const { file, upload, chunk } of uploads) {
      const opened = this.openUpload(file, upload, limit).then(async () => {
        const placed = chunk === undefined ? [] : [{ ...chunk, index: 0 }];
        const { expiresAt } = upload;
        await this.recordGrants(upload.id, { received: [], moved: [], placed, expiresAt, reason });
        return undefined;
      });
      outcomes.push(await opened.catch(toNexusError));
    }
    return outcomes;
  }

  async commitUploads(
    ids: readonly UploadId[],
    change: Parameters<FileStore['commitUploads']>[1],
  ): Promise<readonly (CommittedUpload | NexusError)[]> {
    const outcomes: (CommittedUpload | NexusError)[] = [];
    for (const id of ids) outcomes.push(await this.#commitPacked(id, change).catch(toNexusError));
    return outcomes;
  }

  async #commitPacked(
    id: UploadId,
    { owner, claimed, ...change }: Parameters<FileStore['commitUploads']>[1],
  ): Promise<CommittedUpload> {
    const upload = await this.getUpload(id);
    const file = upload === undefined ? undefined : await this.getFile(upload.fileId);
    if (upload === undefined || file?.owner !== owner || upload.expiresAt <= change.now) throw noSuchUpload(id);
    const [chunk] = await this.uploadChunks(id);
    const copies = (chunk === undefined ? [] : (claimed.get(chunk.id) ?? [])).filter(({ nodeId }) =>
      chunk?.replicas.some((copy) => copy.nodeId === nodeId && copy.state === 'writing'),
    );
    const [first] = copies;
    const agree = copies.every(({ size, md5 }) => size === first?.size && md5 === first.md5);
    const nodeIds = copies.map(({ nodeId }) => nodeId);
    const received =
      chunk === undefined || first === undefined || !agree
        ? []
        : [{ chunkId: chunk.id, index: 0, size: first.size, md5: first.md5, nodeIds }];
    const size = upload.expectedSize;
    const committed = await this.commitUpload(id, { ...change, received, size, chunksCount: size === 0 ? 0 : 1 });
    return { file: committed, copies: size === 0 ? file.replicas : nodeIds.length };
  }

  getUpload(id: UploadId): Promise<UploadRecord | undefined> {
    return this.read(({ uploads }) => uploads.get(id));
  }

  placeUpload(id: UploadId, place: UploadPlace): Promise<void> {
    return this.write((tables) => {
      const upload = expectUpload(tables, id);
      tables.uploads.set(id, { ...upload, ...place });
      const file = tables.files.get(upload.fileId);
      if (file !== undefined) tables.files.set(file.id, { ...file, name: place.entryName });
    });
  }

  recordGrants(id: UploadId, change: Parameters<FileStore['recordGrants']>[1]): Promise<void> {
    return this.write((tables) => {
      const upload = expectUpload(tables, id);
      receive(tables, upload.fileId, change.received);
      for (const { chunkId, from, to } of change.moved) {
        const copies = tables.chunks.get(chunkId)?.copies;
        if (copies === undefined || from.some((node) => copies.get(node) !== 'writing')) throw movedMeanwhile(chunkId);
        for (const node of from) copies.set(node, 'deleting');
        for (const node of to) {
          copies.set(node, 'writing');
          tables.reasons.set(`${chunkId}@${node}`, change.reason ?? '');
        }
      }
      for (const { id: chunkId, index, nodeIds, part } of change.placed) {
        const copies = new Map(nodeIds.map((node) => [node, 'writing' as const]));
        for (const node of nodeIds) tables.reasons.set(`${chunkId}@${node}`, change.reason ?? '');
        const { size = 0, offset = index * CHUNK_SIZE_BYTES } = part ?? {};
        tables.chunks.set(chunkId, { id: chunkId, fileId: upload.fileId, index, size, offset, md5: '', copies });
      }
      const granted = upload.granted + change.placed.length;
      const reserved = change.reserved ?? upload.reserved;
      charge(tables, ownerOf(tables, upload), { reserved: reserved - upload.reserved }, change.limit);
      tables.uploads.set(id, { ...upload, granted, reserved, expiresAt: change.expiresAt });
    });
  }

  uploadChunks(id: UploadId): Promise<readonly ChunkRecord[]> {
    return this.read((tables) => {
      const upload = tables.uploads.get(id);
      return upload === undefined ? [] : chunkRecords(tables, upload.fileId);
    });
  }

  chunksAt(id: FileId, indexes: readonly number[]): Promise<readonly ChunkRecord[]> {
    return this.read((tables) => chunkRecords(tables, id).filter((chunk) => indexes.includes(chunk.index)));
  }

  writingBytes(): Promise<ReadonlyMap<NodeId, number>> {
    return this.read((tables) => {
      const bytes = new Map<NodeId, number>();
      for (const { nodeId, chunkId } of copiesIn(tables, 'writing')) {
        const { fileId, index = 0, size = 0 } = tables.chunks.get(chunkId) ?? {};
        const isNamed = fileId !== undefined && tables.files.get(fileId)?.explicitSizes === true;
        const upload = [...tables.uploads.values()].find((candidate) => candidate.fileId === fileId);
        bytes.set(
          nodeId,
          (bytes.get(nodeId) ?? 0) + (isNamed ? size : announcedBytes(upload?.expectedSize ?? 0, index)),
        );
      }
      return bytes;
    });
  }

  commitUpload(id: UploadId, change: Parameters<FileStore['commitUpload']>[1]): Promise<FileRecord> {
    return this.write((tables) => {
      const upload = expectUpload(tables, id);
      receive(tables, upload.fileId, change.received);
      const explicitSizes = tables.files.get(upload.fileId)?.explicitSizes === true;
      checkComplete(chunkRecords(tables, upload.fileId), { ...change, explicitSizes });
      for (const chunk of entriesOf(tables, upload.fileId)) {
        const isSurplus = chunk.index >= change.chunksCount;
        for (const [node, state] of chunk.copies) {
          if (isSurplus || state === 'writing') chunk.copies.set(node, 'deleting');
        }
      }
      const file = tables.files.get(upload.fileId);
      if (file === undefined) throw noSuchFile(upload.fileId);
      assertPlaced(file.kind, upload.parentId);
      const published = { ...file, size: change.size, chunksCount: change.chunksCount, status: 'ready' as const };
      tables.files.set(file.id, published);
      tables.uploads.delete(id);
      charge(tables, file.owner, { used: change.size, reserved: -upload.reserved }, change.limit);
      if (upload.parentId !== '')
        publishEntry(tables, file, upload, { now: change.now ?? 0, claim: change.claim ?? (() => false) });
      return published;
    });
  }

  abortUpload(id: UploadId): Promise<void> {
    return this.write((tables) => {
      dropUpload(tables, tables.uploads.get(id));
    });
  }

  expireUpload(id: UploadId, now: number): Promise<boolean> {
    return this.write((tables) => {
      const upload = tables.uploads.get(id);
      if (upload === undefined || upload.expiresAt > now) return false;
      dropUpload(tables, upload);
      return true;
    });
  }

  renewUploads(expiresAt: number): Promise<void> {
    return this.write(({ uploads }) => {
      for (const [id, upload] of uploads) uploads.set(id, { ...upload, expiresAt });
    });
  }

  countUploads(owner: string): Promise<{ readonly own: number; readonly all: number }> {
    return this.read(({ uploads, files }) => ({
      own: [...uploads.values()].filter(({ fileId }) => files.get(fileId)?.owner === owner).length,
      all: uploads.size,
    }));
  }

  expiredUploads(now: number): Promise<readonly UploadId[]> {
    return this.read(({ uploads }) =>
      [...uploads.values()].filter((upload) => upload.expiresAt <= now).map((upload) => upload.id),
    );
  }

  getFile(id: FileId): Promise<FileRecord | undefined> {
    return this.read(({ files }) => files.get(id));
  }

  findFiles(prefix: string, owner?: string): Promise<readonly FileRecord[]> {
    return this.read((tables) =>
      prefix === ''
        ? []
        : readyFiles(tables)
            .filter((file) => file.id.startsWith(prefix) && (owner === undefined || file.owner === owner))
            .sort(byId)
            .slice(0, 2),
    );
  }

  filesNamed(name: string, limit: number, owner?: string): Promise<readonly FileRecord[]> {
    return this.read((tables) =>
      readyFiles(tables)
        .filter((file) => file.name === name && file.kind === 'raw' && (owner === undefined || file.owner === owner))
        .sort((one, other) => other.createdAt - one.createdAt || byId(one, other))
        .slice(0, limit),
    );
  }

  listFiles(page: Parameters<FileStore['listFiles']>[0]): Promise<readonly FileRecord[]> {
    const { after, limit, owner } = page;
    return this.read((tables) =>
      readyFiles(tables)
        .filter((file) => file.kind === 'raw' && (owner === undefined || file.owner === owner))
        .sort((one, other) => one.createdAt - other.createdAt || byId(one, other))
        .filter((file) => after === undefined || isAfter(file, after))
        .slice(0, limit),
    );
  }

  chunks(id: FileId, page: { readonly from: number; readonly count: number }): Promise<readonly ChunkRecord[]> {
    return this.read((tables) =>
      chunkRecords(tables, id).filter((chunk) => chunk.index >= page.from && chunk.index < page.from + page.count),
    );
  }

  removeFile(id: FileId): Promise<FileRecord> {
    return this.write((tables) => {
      const file = tables.files.get(id);
      if (file?.status !== 'ready' && file?.status !== 'partial') throw noSuchFile(id);
      if (file.kind === 'fs') throw isContent(id);
      dropFile(tables, file);
      return file;
    });
  }

  doomedReplicas(limit: number, node?: NodeId): Promise<readonly DoomedReplica[]> {
    return this.read((tables) =>
      copiesIn(tables, 'deleting')
        .filter((copy) => node === undefined || copy.nodeId === node)
        .slice(0, limit),
    );
  }

  doomedNodes(): Promise<readonly NodeId[]> {
    return this.read((tables) => [...new Set(copiesIn(tables, 'deleting').map((copy) => copy.nodeId))]);
  }

  forgetReplicas(gone: readonly DoomedReplica[]): Promise<void> {
    return this.write((tables) => {
      for (const { chunkId, nodeId } of gone) {
        const copies = tables.chunks.get(chunkId)?.copies;
        if (copies?.get(nodeId) === 'deleting') copies.delete(nodeId);
      }
      forgetBareChunks(tables);
    });
  }

  filesOnlyOn(node: NodeId, others: readonly NodeId[]): Promise<readonly FileRecord[]> {
    return this.read((tables) =>
      readyFiles(tables).filter((file) =>
        chunkRecords(tables, file.id).some((chunk) => {
          const ready = chunk.replicas.filter((copy) => copy.state === 'ready').map((copy) => copy.nodeId);
          const isHere = chunk.replicas.some(
            ({ nodeId, state }) => nodeId === node && (state === 'ready' || state === 'corrupt'),
          );
          return isHere && !ready.some((id) => id !== node && others.includes(id));
        }),
      ),
    );
  }

  forgetNode(node: NodeId): Promise<void> {
    return this.write((tables) => {
      for (const chunk of tables.chunks.values()) chunk.copies.delete(node);
      forgetBareChunks(tables);
    });
  }

  totals(): Promise<StorageTotals> {
    return this.read((tables) => {
      const files = readyFiles(tables);
      const sum = (value: (file: FileRecord) => number): number =>
        files.reduce((total, file) => total + value(file), 0);
      return {
        files: files.length,
        chunks: sum((file) => file.chunksCount),
        bytes: sum((file) => file.size),
        underReplicated: sum((file) => underReplicated(tables, file)),
        pendingDeletes: copiesIn(tables, 'deleting').length,
      };
    });
  }
}

const byId = (one: FileRecord, other: FileRecord): number => (one.id < other.id ? -1 : 1);

const isAfter = (file: FileRecord, after: { createdAt: number; id: FileId }): boolean =>
  file.createdAt > after.createdAt || (file.createdAt === after.createdAt && file.id > after.id);

const readyFiles = ({ files }: FileTables): FileRecord[] =>
  [...files.values()].filter(({ status }) => status === 'ready' || status === 'partial');

export const chunkRecords = (tables: FileTables, fileId: FileId): ChunkRecord[] =>
  entriesOf(tables, fileId).map(({ copies, ...chunk }) => ({
    ...chunk,
    replicas: [...copies].map(([nodeId, state]) => ({ nodeId, state })).sort((a, b) => (a.nodeId < b.nodeId ? -1 : 1)),
  }));

const copiesIn = ({ chunks }: FileTables, state: ReplicaState): DoomedReplica[] =>
  [...chunks.values()].flatMap((chunk) =>
    [...chunk.copies].filter(([, is]) => is === state).map(([nodeId]) => ({ chunkId: chunk.id, nodeId })),
  );

const underReplicated = (tables: FileTables, file: FileRecord): number =>
  chunkRecords(tables, file.id).filter(
    (chunk) =>
      chunk.index < file.chunksCount && chunk.replicas.filter((copy) => copy.state === 'ready').length < file.replicas,
  ).length;

function expectUpload({ uploads }: FileTables, id: UploadId): UploadRecord {
  const upload = uploads.get(id);
  if (upload === undefined) throw noSuchUpload(id);
  return upload;
}

function receive({ chunks }: FileTables, fileId: FileId, received: readonly ReceivedChunk[]): void {
  for (const { chunkId, size, md5, nodeIds } of received) {
    const chunk = chunks.get(chunkId);
    if (chunk?.fileId !== fileId) continue;
    chunk.size = size;
    chunk.md5 = md5;
    for (const node of nodeIds) if (chunk.copies.get(node) === 'writing') chunk.copies.set(node, 'ready');
  }
}

const ownerOf = ({ files }: FileTables, { fileId }: UploadRecord): string => files.get(fileId)?.owner ?? '';

function dropUpload(tables: FileTables, upload: UploadRecord | undefined): void {
  if (upload === undefined) return;
  charge(tables, ownerOf(tables, upload), { reserved: -upload.reserved });
  tables.uploads.delete(upload.id);
  doomFile(tables, upload.fileId);
}

/**
 * Uploads of many small files, opened and published together: each statement is for all of them. Only those in which
 * everything is as it usually is go this way. All others take the steps of single uploads, in the same transaction and
 * each with a savepoint of its own, so that their rules and refusals are written once.
 */
import { In, type EntityManager } from 'typeorm';
import { NexusError } from '../../../shared/errors.js';
import { newEntryId, type ChunkId, type FileId, type UploadId } from '../../../shared/ids.js';
import { noSuchUpload } from '../port/file-rules.js';
import type { Replacing } from '../port/fs.js';
import type {
  ChunkRecord,
  CommittedUpload,
  FileRecord,
  FileStore,
  PackedUpload,
  ReceivedChunk,
  UploadRecord,
} from '../port/store.js';
import { charge, ensureAccount, findAccount } from './accounts.js';
import { chunksOfFiles, copiesOf, groupByNode, place, setStates } from './chunks.js';
import { FileEntity, ReplicaEntity, UploadEntity } from './entities.js';
import { childrenNamed, insertEntries, isInTree, touch } from './entries.js';
import { query } from './query.js';

type OpenChange = Parameters<FileStore['openUploads']>[1];
type CommitChange = Parameters<FileStore['commitUploads']>[1];

/** What a single upload does, in a transaction that is open already. */
export interface Singly {
  open(manager: EntityManager, upload: PackedUpload, change: OpenChange): Promise<void>;
  commit(
    manager: EntityManager,
    id: UploadId,
    change: { received: readonly ReceivedChunk[]; size: number; chunksCount: number; limit: number } & Replacing,
  ): Promise<FileRecord>;
}

export async function openPacked(
  manager: EntityManager,
  uploads: readonly PackedUpload[],
  change: OpenChange,
  singly: Singly,
): Promise<(NexusError | undefined)[]> {
  const [first] = uploads;
  if (first === undefined) return [];
  const { owner, createdAt } = first.file;
  await ensureAccount(manager, owner, createdAt);
  const reserved = uploads.reduce((sum, { upload }) => sum + upload.reserved, 0);
  const account = await findAccount(manager, owner);
  const limit = account?.limit ?? change.limit;
  if (limit !== 0 && (account?.used ?? 0) + (account?.reserved ?? 0) + reserved > limit)
    // The quota ends within: in the order of the request as many as it has room for.
    return await eachAlone(manager, uploads, async (upload) => {
      await singly.open(manager, upload, change);
      return undefined;
    });
  await charge(manager, owner, { reserved }, change.limit);
  await manager.insert(
    FileEntity,
    uploads.map(({ file }) => ({ ...file })),
  );
  await manager.insert(
    UploadEntity,
    uploads.map(({ upload, chunk }) => ({ ...upload, granted: chunk === undefined ? 0 : 1 })),
  );
  const placed = uploads.flatMap(({ file, chunk }) =>
    chunk === undefined ? [] : [{ ...chunk, index: 0, fileId: file.id }],
  );
  await place(manager, placed, change.reason);
  return uploads.map(() => undefined);
}

interface Candidate {
  readonly upload: UploadRecord;
  readonly file: FileRecord;
  readonly chunks: readonly ChunkRecord[];
  /** What its agents have signed; undefined: nothing that counts. */
  readonly received: ReceivedChunk | undefined;
}

export async function commitPacked(
  manager: EntityManager,
  ids: readonly UploadId[],
  change: CommitChange,
  singly: Singly,
): Promise<(CommittedUpload | NexusError)[]> {
  const found = await candidatesOf(manager, ids, change);
  const usual = await usualOf(
    manager,
    ids.map((id) => found.get(id)).filter((one) => one !== undefined),
  );
  await publishAll(manager, usual, change.now);
  const done = new Map(usual.map((one) => [one.upload.id, committed(one, publishedFile(one))]));
  const others = ids.filter((id) => !done.has(id));
  const outcomes = await eachAlone(manager, others, async (id) => {
    const one = found.get(id);
    if (one === undefined) throw noSuchUpload(id);
    const { upload, received } = one;
    const size = upload.expectedSize;
    const parts = { received: received === undefined ? [] : [received], size, chunksCount: size === 0 ? 0 : 1 };
    return committed(one, await singly.commit(manager, id, { ...change, ...parts }));
  });
  const rest = new Map(others.map((id, at) => [id, outcomes[at]]));
  return ids.map((id) => done.get(id) ?? rest.get(id) ?? noSuchUpload(id));
}

const committed = ({ file: { replicas }, received }: Candidate, file: FileRecord): CommittedUpload => ({
  file,
  copies: file.chunksCount === 0 ? replicas : (received?.nodeIds.length ?? 0),
});

const publishedFile = ({ file, upload }: Candidate): FileRecord => ({
  ...file,
  size: upload.expectedSize,
  chunksCount: upload.granted,
  status: 'ready',
});

async function candidatesOf(
  manager: EntityManager,
  ids: readonly UploadId[],
  { owner, now, claimed }: CommitChange,
): Promise<ReadonlyMap<UploadId, Candidate>> {
  const uploads = await manager.findBy(UploadEntity, { id: In([...ids]) });
  const files = await manager.findBy(FileEntity, { id: In(uploads.map(({ fileId }) => fileId)), owner });
  const byId = new Map(files.map((file) => [file.id, file]));
  // Files that are being uploaded have no number of chunks yet.
  const withChunks = files.map(({ id }) => ({ id, chunksCount: 1 }));
  const chunks: ReadonlyMap<FileId, ChunkRecord[]> = await chunksOfFiles(manager, withChunks);
  const found = new Map<UploadId, Candidate>();
  for (const upload of uploads) {
    const file = byId.get(upload.fileId);
    if (file === undefined || upload.expiresAt <= now) continue;
    const own = chunks.get(file.id) ?? [];
    found.set(upload.id, { upload, file, chunks: own, received: receivedOf(own, claimed) });
  }
  return found;
}

/** Copies of the only chunk that were granted and whose agents agree; two that don't are both worth nothing. */
function receivedOf(chunks: readonly ChunkRecord[], claimed: CommitChange['claimed']): ReceivedChunk | undefined {
  const [chunk, ...others] = chunks;
  if (chunk === undefined || others.length > 0) return undefined;
  const isGranted = (node: string): boolean =>
    chunk.replicas.some(({ nodeId, state }) => nodeId === node && state === 'writing');
  const copies = (claimed.get(chunk.id) ?? []).filter(({ nodeId }) => isGranted(nodeId));
  const [first] = copies;
  if (first === undefined || copies.some(({ size, md5 }) => size !== first.size || md5 !== first.md5)) return undefined;
  const nodeIds = [...new Set(copies.map(({ nodeId }) => nodeId))];
  return { chunkId: chunk.id, index: chunk.index, size: first.size, md5: first.md5, nodeIds };
}

/** Those of which nothing has to be looked at more closely: all is there, and nothing in their place. */
async function usualOf(manager: EntityManager, candidates: readonly Candidate[]): Promise<Candidate[]> {
  const usual = candidates.filter(({ upload, file, chunks, received }) => {
    const { granted, expectedSize, reserved, parentId } = upload;
    if (file.kind !== 'fs' || file.explicitSizes || parentId === '' || reserved !== expectedSize) return false;
    if (expectedSize === 0) return granted === 0 && chunks.length === 0;
    const [chunk] = chunks;
    return granted === 1 && chunk?.index === 0 && chunk.md5 === '' && received?.size === expectedSize;
  });
  const taken = new Set<string>();
  for (const parentId of new Set(usual.map(({ upload }) => upload.parentId))) {
    const ofParent = usual.filter(({ upload }) => upload.parentId === parentId);
    const names = ofParent.map(({ upload }) => upload.entryName);
    const rows = (await isInTree(manager, parentId))
      ? await childrenNamed(manager, parentId, names)
      : names.map((name) => ({ name }));
    for (const { name } of rows) taken.add(`${parentId}/${name}`);
  }
  // The second of one name finds the first in its place.
  return usual.filter(({ upload }) => {
    const where = `${upload.parentId}/${upload.entryName}`;
    const isFree = !taken.has(where);
    taken.add(where);
    return isFree;
  });
}

async function publishAll(manager: EntityManager, usual: readonly Candidate[], now: number): Promise<void> {
  const [first] = usual;
  if (first === undefined) return;
  const received = usual.map((one) => one.received).filter((one) => one !== undefined);
  await receiveAll(manager, received);
  const signed = new Map(received.map(({ chunkId, nodeIds }) => [chunkId, nodeIds]));
  const unsigned = usual.flatMap(({ chunks }) =>
    chunks.flatMap((chunk) =>
      copiesOf(chunk).filter(
        ({ nodeId, state }) => state === 'writing' && signed.get(chunk.id)?.includes(nodeId) !== true,
      ),
    ),
  );
  await setStates(manager, unsigned, 'deleting');
  const files = usual.map(publishedFile);
  await setEach(
    manager,
    "files SET size = given.b, chunks_count = given.c, status = 'ready'",
    files.map(({ id, size, chunksCount }) => [id, size, chunksCount]),
    ['bigint', 'integer'],
  );
  await manager.delete(UploadEntity, { id: In(usual.map(({ upload }) => upload.id)) });
  const bytes = files.reduce((sum, { size }) => sum + size, 0);
  await charge(manager, first.file.owner, { used: bytes, reserved: -bytes });
  const times = { createdAt: now, modifiedAt: now };
  const entries = usual.map(({ upload: { parentId, entryName: name }, file: { owner, id: fileId } }) => ({
    ...{ id: newEntryId(), owner, parentId, name, type: 'file' as const, fileId },
    ...times,
  }));
  await insertEntries(manager, entries);
  for (const parentId of new Set(entries.map((entry) => entry.parentId))) await touch(manager, parentId, now);
}

async function receiveAll(manager: EntityManager, received: readonly ReceivedChunk[]): Promise<void> {
  if (received.length === 0) return;
  await setEach(
    manager,
    'chunks SET size = given.b, md5 = given.c',
    received.map(({ chunkId, size, md5 }) => [chunkId, size, md5]),
    ['integer', 'text'],
  );
  const copies = received.flatMap(({ chunkId, nodeIds }) => nodeIds.map((nodeId) => ({ chunkId, nodeId })));
  for (const [nodeId, chunkIds] of groupByNode(copies))
    await manager.update(
      ReplicaEntity,
      { nodeId, chunkId: In<ChunkId>([...chunkIds]), state: 'writing' },
      { state: 'ready' },
    );
}

/** Sets each row by its id to values of its own: `given.b` and `given.c`, of these types. */
async function setEach(
  manager: EntityManager,
  update: string,
  rows: readonly (readonly [string, number | string, number | string])[],
  [second, third]: readonly [string, string],
): Promise<void> {
  const [table = ''] = update.split(' ', 1);
  await query(
    manager,
    `UPDATE ${update} FROM (
       SELECT column1 AS a, CAST(column2 AS ${second}) AS b, CAST(column3 AS ${third}) AS c
         FROM (VALUES ${rows.map(() => '(?, ?, ?)').join(', ')}) AS listed
     ) AS given WHERE ${table}.id = given.a`,
    rows.flat(),
  );
}

/** A database that ended the whole transaction by itself (full disk) rejects the savepoint, and all fail with it. */
async function eachAlone<Item, Result>(
  manager: EntityManager,
  items: readonly Item[],
  work: (item: Item) => Promise<Result>,
): Promise<(Result | NexusError)[]> {
  const outcomes: (Result | NexusError)[] = [];
  for (const item of items) {
    await manager.query('SAVEPOINT one_of_many');
    try {
      outcomes.push(await work(item));
    } catch (error) {
      await manager.query('ROLLBACK TO SAVEPOINT one_of_many').catch(() => {
        throw error;
      });
      if (!(error instanceof NexusError)) throw error;
      outcomes.push(error);
    }
    await manager.query('RELEASE SAVEPOINT one_of_many');
  }
  return outcomes;
}

/**
 * The cluster's state as one JSON document: nodes, accounts, entries of the virtual file systems, and files with the
 * places of their chunks. One record per line, so that people can read it and tools can compare two. It contains no
 * secrets.
 *
 * It is read page by page while the cluster goes on: each record is consistent, but two records may be of different
 * moments. Entries come before files, so that no file lacks an entry that existed.
 */
import { z } from 'zod';
import type { EntryId, FileId } from '../../shared/ids.js';
import { MAX_REPLICAS } from '../../shared/limits.js';
import type { ArchivedAccount, ArchivedEntry, ArchivedFile, ArchiveStore } from '../store/port/archive.js';
import type { NodeRecord } from '../store/port/store.js';

const FORMAT = 'nexus-state';
export const FORMAT_VERSION = 1;
const ROWS_PER_PAGE = 200;

const hex = (length: number): z.ZodString => z.string().regex(new RegExp(`^[0-9a-f]{${length}}$`), 'must be an id');
const whole = z.number().int().min(0).max(Number.MAX_SAFE_INTEGER);
const text = z.string().max(4096);

export const nodeSchema = z.object({
  id: hex(12),
  name: text,
  slot: z.number().int().min(0).max(100_000),
  desired: z.enum(['running', 'stopped', 'removed']),
  memory_mb: whole,
  cpu_shares: whole,
  pids_limit: whole,
  storage_size: whole,
  image: text,
  labels: z.record(z.string(), z.string()),
  cordoned: z.boolean(),
  volume_uuid: z.uuid(),
  receipt_key: text,
  created_at: z.iso.datetime(),
});
const accountSchema = z.object({ owner: text, limit: whole.nullable(), created_at: z.iso.datetime() });
const entrySchema = z.object({
  id: hex(16),
  owner: text,
  parent_id: text,
  name: text,
  type: z.enum(['file', 'folder']),
  file_id: hex(16).nullable(),
  created_at: z.iso.datetime(),
  modified_at: z.iso.datetime(),
});
const fileSchema = z.object({
  id: hex(16),
  kind: z.enum(['raw', 'fs']),
  name: text,
  owner: text,
  size: whole,
  chunks_count: whole,
  replicas: z.number().int().min(1).max(MAX_REPLICAS),
  status: z.enum(['ready', 'partial']),
  created_at: z.iso.datetime(),
  // Only of files whose chunks have sizes that their sender named.
  explicit_sizes: z.boolean().default(false),
  chunks: z.array(
    z.object({
      id: hex(32),
      index: whole,
      size: whole,
      md5: hex(32),
      // Offset of the chunk's first byte, if the file has explicit sizes.
      offset: whole.optional(),
      replicas: z.array(z.object({ node: hex(12), state: z.enum(['ready', 'missing', 'corrupt']) })),
    }),
  ),
});
export const documentSchema = z.object({
  format: z.literal(FORMAT),
  version: z.literal(FORMAT_VERSION),
  nodes: z.array(nodeSchema),
  accounts: z.array(accountSchema),
  entries: z.array(entrySchema),
  files: z.array(fileSchema),
});

export type NodeCard = z.infer<typeof nodeSchema>;
export type StateDocument = z.infer<typeof documentSchema>;

const time = (ms: number): string => new Date(ms).toISOString();

/** Describes a node without its status; also the content of the card beside its volume. */
export const nodeCard = (node: NodeRecord): NodeCard => ({
  id: node.id,
  name: node.name,
  slot: node.hosting.slot,
  desired: node.desired,
  memory_mb: node.memoryMb,
  cpu_shares: node.cpuWeight,
  pids_limit: node.pidsLimit,
  storage_size: node.storageBytes,
  image: node.image,
  labels: { ...node.labels },
  cordoned: node.cordoned,
  volume_uuid: node.hosting.volumeUuid,
  receipt_key: node.receiptKey,
  created_at: time(node.createdAt),
});

const accountShape = ({ owner, limit, createdAt }: ArchivedAccount): z.infer<typeof accountSchema> => ({
  owner,
  limit,
  created_at: time(createdAt),
});

const entryShape = (entry: ArchivedEntry): z.infer<typeof entrySchema> => ({
  id: entry.id,
  owner: entry.owner,
  parent_id: entry.parentId,
  name: entry.name,
  type: entry.type,
  file_id: entry.fileId,
  created_at: time(entry.createdAt),
  modified_at: time(entry.modifiedAt),
});

const fileShape = ({ file, chunks }: ArchivedFile): z.input<typeof fileSchema> => ({
  id: file.id,
  kind: file.kind,
  name: file.name,
  owner: file.owner,
  size: file.size,
  chunks_count: file.chunksCount,
  replicas: file.replicas,
  status: file.status === 'partial' ? 'partial' : 'ready',
  created_at: time(file.createdAt),
  ...(file.explicitSizes ? { explicit_sizes: true } : {}),
  chunks: chunks.map(({ id, index, size, offset, md5, replicas }) => ({
    id,
    index,
    size,
    md5,
    ...(file.explicitSizes ? { offset } : {}),
    // Copies that are being written or deleted are not worth restoring.
    replicas: replicas.flatMap(({ nodeId, state }) =>
      state === 'ready' || state === 'missing' || state === 'corrupt' ? [{ node: nodeId, state }] : [],
    ),
  })),
});

export interface DocumentSource {
  readonly archive: ArchiveStore;
  readonly nodes: () => readonly NodeRecord[];
  readonly head: Readonly<Record<string, string | number>>;
}

/** The document in pieces of some kilobytes each. */
export async function* documentPieces({ archive, nodes, head }: DocumentSource): AsyncGenerator<string> {
  const revision = archive.revision();
  const start = JSON.stringify({ format: FORMAT, version: FORMAT_VERSION, revision, ...head }).slice(0, -1);
  yield `${start},\n"nodes": [`;
  yield rows(
    nodes()
      .filter(({ desired }) => desired !== 'removed')
      .map(nodeCard),
    true,
  );
  yield '\n],\n"accounts": [';
  yield rows((await archive.accounts()).map(accountShape), true);
  yield '\n],\n"entries": [';
  const contents = new Set<string>();
  for await (const { page, isFirst } of pages(
    (after) => archive.entries(after as EntryId, ROWS_PER_PAGE),
    (row) => row.id,
  )) {
    // Leave out detached entries: they are being removed.
    const kept = page.filter((entry) => !entry.parentId.startsWith('#'));
    for (const { fileId } of kept) if (fileId !== null) contents.add(fileId);
    yield rows(kept.map(entryShape), isFirst);
  }
  yield '\n],\n"files": [';
  for await (const { page, isFirst } of pages(
    (after) => archive.files(after as FileId, ROWS_PER_PAGE),
    ({ file }) => file.id,
  ))
    yield rows(page.filter(({ file }) => file.kind === 'raw' || contents.has(file.id)).map(fileShape), isFirst);
  yield '\n]}\n';
}

/** `isFirst`: no row has been written yet. */
function rows(shapes: readonly object[], isFirst: boolean): string {
  return shapes.map((shape, at) => `${isFirst && at === 0 ? '' : ','}\n${JSON.stringify(shape)}`).join('');
}

async function* pages<Row>(
  read: (after: string) => Promise<readonly Row[]>,
  idOf: (row: Row) => string,
): AsyncGenerator<{ page: readonly Row[]; isFirst: boolean }> {
  let isFirst = true;
  for (let after = ''; ;) {
    const page = await read(after);
    const last = page.at(-1);
    if (last === undefined) return;
    yield { page, isFirst };
    isFirst = false;
    if (page.length < ROWS_PER_PAGE) return;
    after = idOf(last);
  }
}

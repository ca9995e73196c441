/**
 * What the cluster keeps as one JSON document: nodes, accounts, entries of the virtual file systems, and files with where
 * their chunks lie. One record to a line, so that people can read it and tools can compare two. No secrets are in it.
 *
 * It is read page by page while the cluster goes on: each record is whole, two records may be of different moments.
 * Entries come before files, so that a file's entry is never missing for a file that is there.
 */
import { z } from 'zod';
import { NexusError } from '../../shared/errors.js';
import type { ChunkId, EntryId, FileId, NodeId } from '../../shared/ids.js';
import { MAX_REPLICAS } from '../../shared/limits.js';
import type {
  ArchiveContent,
  ArchivedAccount,
  ArchivedEntry,
  ArchivedFile,
  ArchiveStore,
} from '../store/archive-port.js';
import type { NodeRecord } from '../store/port.js';

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
  chunks: z.array(
    z.object({
      id: hex(32),
      index: whole,
      size: whole,
      md5: hex(32),
      replicas: z.array(z.object({ node: hex(12), state: z.enum(['ready', 'missing', 'corrupt']) })),
    }),
  ),
});
const documentSchema = z.object({
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

/** What a node is, apart from what becomes of it: also what lies beside its volume. */
export const nodeCard = (node: NodeRecord): NodeCard => ({
  id: node.id,
  name: node.name,
  slot: node.slot,
  desired: node.desired,
  memory_mb: node.memoryMb,
  cpu_shares: node.cpuWeight,
  pids_limit: node.pidsLimit,
  storage_size: node.storageBytes,
  image: node.image,
  labels: { ...node.labels },
  cordoned: node.cordoned,
  volume_uuid: node.volumeUuid,
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

const fileShape = ({ file, chunks }: ArchivedFile): z.infer<typeof fileSchema> => ({
  id: file.id,
  kind: file.kind,
  name: file.name,
  owner: file.owner,
  size: file.size,
  chunks_count: file.chunksCount,
  replicas: file.replicas,
  status: file.status === 'partial' ? 'partial' : 'ready',
  created_at: time(file.createdAt),
  chunks: chunks.map(({ id, index, size, md5, replicas }) => ({
    id,
    index,
    size,
    md5,
    // Copies that are being written or deleted are nothing to come back to.
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
    // What has been detached is being removed.
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

/** `isFirst` until a page had something in it that was written. */
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

/** Code: invalid_argument, naming what is wrong and where. */
export function parseDocument(json: string): StateDocument {
  const parsed = parseJson(json);
  const version = (parsed as { version?: unknown } | null)?.version;
  if (typeof version === 'number' && version > FORMAT_VERSION) {
    throw new NexusError(
      'invalid_argument',
      `the document has version ${version}, and this Nexus knows ${FORMAT_VERSION} at most; import it with the version that wrote it, or a newer one`,
    );
  }
  const result = documentSchema.safeParse(parsed);
  if (result.success) return result.data;
  const [issue] = result.error.issues;
  throw new NexusError(
    'invalid_argument',
    `this is no state of Nexus: ${issue?.path.map(String).join('.') ?? ''}: ${issue?.message ?? 'invalid'}; give what nexus state export has written`,
  );
}

function parseJson(json: string): unknown {
  try {
    return JSON.parse(json);
  } catch (error) {
    const said = error instanceof Error ? error.message : '';
    throw new NexusError('invalid_argument', `this is not JSON (${said}); give what nexus state export has written`);
  }
}

/** What of a host follows from a node's slot, which may be another than where the document was written. */
export interface Placing {
  readonly addressOf: (slot: number) => string;
  readonly loopDeviceOf: (slot: number) => number;
}

/** Stopped, whatever it was: whoever puts it back starts it. */
export const nodeOf = (card: NodeCard, slot: number, placing: Placing): NodeRecord => ({
  id: card.id as NodeId,
  name: card.name,
  slot,
  ip: placing.addressOf(slot),
  status: 'Stopped',
  statusReason: 'put back from a copy of the state',
  desired: card.desired,
  memoryMb: card.memory_mb,
  cpuWeight: card.cpu_shares,
  pidsLimit: card.pids_limit,
  storageBytes: card.storage_size,
  image: card.image,
  labels: card.labels,
  cordoned: card.cordoned,
  draining: false,
  loopDevice: placing.loopDeviceOf(slot),
  volumeUuid: card.volume_uuid,
  receiptKey: card.receipt_key,
  pid: 0,
  pidStartTicks: '',
  bootId: '',
  createdAt: Date.parse(card.created_at),
});

export interface Restorable {
  readonly content: ArchiveContent;
  readonly warnings: readonly string[];
}

/** What of a document can be put back: entries that lead to the top and whose content is there, copies on nodes that are. */
export function contentOf(document: StateDocument, placing: Placing): Restorable {
  const nodes = document.nodes.map((card) => nodeOf(card, card.slot, placing));
  const nodeIds = new Set<string>(nodes.map((node) => node.id));
  const entries = reachable(document.entries, new Set(document.files.map((file) => file.id)));
  const contents = new Set(entries.map((entry) => entry.file_id));
  const files = document.files.filter((file) => file.kind === 'raw' || contents.has(file.id));
  const warnings = [
    ...left('entry', document.entries.length - entries.length, 'its folder or content is not in the document'),
    ...left('file', document.files.length - files.length, 'no path leads to it'),
  ];
  return {
    content: {
      nodes,
      accounts: document.accounts.map(({ owner, limit, created_at }) => ({
        owner,
        limit,
        createdAt: Date.parse(created_at),
      })),
      entries: entries.map((entry) => ({
        id: entry.id as EntryId,
        owner: entry.owner,
        parentId: entry.parent_id,
        name: entry.name,
        type: entry.type,
        fileId: entry.file_id as FileId | null,
        createdAt: Date.parse(entry.created_at),
        modifiedAt: Date.parse(entry.modified_at),
      })),
      files: files.map(({ chunks, created_at, chunks_count: chunksCount, ...file }) => ({
        file: { ...file, id: file.id as FileId, chunksCount, createdAt: Date.parse(created_at) },
        chunks: chunks.map((chunk) => ({
          id: chunk.id as ChunkId,
          fileId: file.id as FileId,
          index: chunk.index,
          size: chunk.size,
          md5: chunk.md5,
          replicas: chunk.replicas
            .filter(({ node }) => nodeIds.has(node))
            .map(({ node, state }) => ({ nodeId: node as NodeId, state })),
        })),
      })),
    },
    warnings,
  };
}

type Entries = StateDocument['entries'];

function reachable(entries: Entries, files: ReadonlySet<string>): Entries {
  const byParent = new Map<string, Entries>();
  for (const entry of entries) {
    const siblings = byParent.get(entry.parent_id);
    if (siblings === undefined) byParent.set(entry.parent_id, [entry]);
    else siblings.push(entry);
  }
  const found: Entries = [];
  const todo = [...byParent.keys()].filter((parent) => parent.startsWith('~'));
  for (let parent = todo.pop(); parent !== undefined; parent = todo.pop()) {
    for (const entry of byParent.get(parent) ?? []) {
      if (entry.type === 'folder') todo.push(entry.id);
      else if (entry.file_id === null || !files.has(entry.file_id)) continue;
      found.push(entry);
    }
  }
  return found;
}

const left = (what: string, count: number, why: string): string[] =>
  count === 0 ? [] : [`${count} ${what} record(s) were left out: ${why}`];

/**
 * Converts a document back into records. The whole document is checked first, because the catalogue is trusted later.
 * Unreachable entries are left out, with a warning; content without an entry becomes a file of its own.
 */
import { notice, type Message } from '../../shared/advice/advice.js';
import { NexusError } from '../../shared/errors.js';
import type { ChunkId, EntryId, FileId, NodeId } from '../../shared/ids.js';
import { CHUNK_SIZE_BYTES } from '../../shared/limits.js';
import type { ArchiveContent } from '../store/port/archive.js';
import { topOf } from '../store/port/fs.js';
import type { Hosting } from '../hosting/port.js';
import type { NodeRecord } from '../store/port/store.js';
import { parsePath } from '../vfs/path.js';
import { documentSchema, FORMAT_VERSION, type NodeCard, type StateDocument } from './document.js';

/** Code: invalid_argument, naming what is wrong and where. */
export function parseDocument(json: string): StateDocument {
  const parsed = parseJson(json);
  const version = (parsed as { version?: unknown } | null)?.version;
  if (typeof version === 'number' && version > FORMAT_VERSION) {
    throw new NexusError(
      'invalid_argument',
      `the document has version ${version}, and this Nexus knows versions up to ${FORMAT_VERSION}; import it with the version that wrote it, or a newer one`,
    );
  }
  const result = documentSchema.safeParse(parsed);
  if (!result.success) {
    const [issue] = result.error.issues;
    const where = issue?.path.map(String).join('.') ?? '';
    throw noState(`${where === '' ? '' : `${where}: `}${issue?.message ?? 'invalid'}`);
  }
  assertConsistent(result.data);
  return result.data;
}

const noState = (problem: string): NexusError =>
  new NexusError(
    'invalid_argument',
    `this is not an exported state of Nexus: ${problem}`,
    {},
    { advice: { key: 'use-exported-state' } },
  );

function assertConsistent({ nodes, entries, files }: StateDocument): void {
  assertUnique('nodes', 'id', nodes, ({ id }) => id);
  assertUnique('nodes', 'name', nodes, ({ name }) => name);
  assertUnique('nodes', 'slot', nodes, ({ slot }) => String(slot));
  assertUnique('entries', 'id', entries, ({ id }) => id);
  assertUnique('entries', 'name in their folder', entries, ({ parent_id, name }) => `${parent_id}/${name}`);
  assertUnique('files', 'id', files, ({ id }) => id);
  assertUnique(
    'chunks',
    'id',
    files.flatMap(({ chunks }) => chunks),
    ({ id }) => id,
  );
  for (const { id, name } of entries) {
    if (!isName(name)) throw noState(`entry ${id} has the name ${JSON.stringify(name)}, which no entry can have`);
  }
  for (const file of files) assertWhole(file);
}

function assertUnique<Row>(what: string, field: string, rows: readonly Row[], keyOf: (row: Row) => string): void {
  const seen = new Set<string>();
  for (const row of rows) {
    const key = keyOf(row);
    if (seen.has(key)) throw noState(`two ${what} have the same ${field}: ${key}`);
    seen.add(key);
  }
}

function isName(name: string): boolean {
  try {
    const [parsed, ...others] = parsePath(`/${name}`);
    return parsed === name && others.length === 0;
  } catch {
    return false;
  }
}

/** Checks that a file's chunks fit together. A partial file may lack some. Code: invalid_argument. */
function assertWhole({ id, size, status, chunks_count: count, chunks, ...file }: StateDocument['files'][number]): void {
  const indices = new Set(chunks.map(({ index }) => index));
  if (indices.size < chunks.length || chunks.some(({ index }) => index >= count)) {
    throw noState(`file ${id} has chunks that cannot all be its own`);
  }
  const isNamed = file.explicit_sizes;
  if (isNamed) assertInOrder(id, size, chunks);
  const isShort = !isNamed && chunks.some((chunk) => chunk.index < count - 1 && chunk.size !== CHUNK_SIZE_BYTES);
  if (isShort || chunks.some((chunk) => chunk.size > CHUNK_SIZE_BYTES || chunk.size === 0)) {
    throw noState(`file ${id} has a chunk of a size that it cannot have`);
  }
  if (status === 'partial') return;
  const bytes = chunks.reduce((sum, chunk) => sum + chunk.size, 0);
  if (indices.size < count) throw noState(`file ${id} has ${count} chunks, and the document has ${indices.size}`);
  if (bytes !== size) throw noState(`file ${id} has ${size} bytes, and its chunks add up to ${bytes}`);
}

/** Checks the offsets of chunks of explicit sizes: each begins where the one before it ends. */
function assertInOrder(id: string, size: number, chunks: StateDocument['files'][number]['chunks']): void {
  let before = { index: -1, end: 0 };
  for (const { index, offset = -1, size: bytes } of [...chunks].sort((a, b) => a.index - b.index)) {
    const fits = index === before.index + 1 ? offset === before.end : offset > before.end;
    if (!fits || offset + bytes > size) throw noState(`file ${id} has chunks whose offsets do not fit together`);
    before = { index, end: offset + bytes };
  }
}

function parseJson(json: string): unknown {
  try {
    return JSON.parse(json);
  } catch (error) {
    const why = error instanceof Error ? error.message : '';
    throw new NexusError(
      'invalid_argument',
      `this is not JSON (${why})`,
      {},
      { advice: { key: 'use-exported-state' } },
    );
  }
}

/** Finds the place of a slot, which may differ from that on the original host. */
export type Placing = Pick<Hosting, 'placeIn'>;

/** Makes a Stopped node, whatever its state was; the caller starts it. */
export const nodeOf = (card: NodeCard, slot: number, placing: Placing): NodeRecord => ({
  id: card.id as NodeId,
  name: card.name,
  ...placing.placeIn(slot, card.volume_uuid),
  status: 'Stopped',
  statusReason: 'restored from a copy of the state',
  desired: card.desired,
  memoryMb: card.memory_mb,
  cpuWeight: card.cpu_shares,
  pidsLimit: card.pids_limit,
  storageBytes: card.storage_size,
  image: card.image,
  labels: card.labels,
  cordoned: card.cordoned,
  draining: false,
  receiptKey: card.receipt_key,
  createdAt: Date.parse(card.created_at),
});

export interface Restorable {
  readonly content: ArchiveContent;
  readonly warnings: readonly Message[];
}

/**
 * Selects what can be restored: entries with a path to the top and existing content, and copies on the document's
 * nodes.
 */
export function contentOf(document: StateDocument, placing: Placing): Restorable {
  const nodes = document.nodes.map((card) => nodeOf(card, card.slot, placing));
  const nodeIds = new Set<string>(nodes.map((node) => node.id));
  const entries = reachable(document);
  const contents = new Set(entries.map((entry) => entry.file_id));
  const stray = document.files.filter((file) => file.kind === 'fs' && !contents.has(file.id)).length;
  const files = document.files.map((file) => (contents.has(file.id) ? file : { ...file, kind: 'raw' as const }));
  const leftOut = document.entries.length - entries.length;
  const warnings = [
    ...(leftOut === 0
      ? []
      : [`${leftOut} entry record(s) were left out: their folder, owner or content is not in the document`]),
    ...(stray === 0
      ? []
      : [notice(`${stray} file(s) without a path were restored as files of their own`, { key: 'list-files' })]),
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
      files: files.map(({ chunks, created_at, chunks_count: chunksCount, explicit_sizes: explicitSizes, ...file }) => ({
        file: { ...file, id: file.id as FileId, chunksCount, explicitSizes, createdAt: Date.parse(created_at) },
        chunks: chunks.map((chunk) => ({
          id: chunk.id as ChunkId,
          fileId: file.id as FileId,
          index: chunk.index,
          size: chunk.size,
          offset: chunk.offset ?? chunk.index * CHUNK_SIZE_BYTES,
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

/** Entries with a path to their owner's topmost folder. Each content has only one entry, and the same owner. */
function reachable({ entries, files }: StateDocument): Entries {
  const byParent = new Map<string, Entries>();
  for (const entry of entries) {
    const siblings = byParent.get(entry.parent_id);
    if (siblings === undefined) byParent.set(entry.parent_id, [entry]);
    else siblings.push(entry);
  }
  const ownerOf = new Map(files.filter(({ kind }) => kind === 'fs').map(({ id, owner }) => [id, owner]));
  const found: Entries = [];
  const owners = new Set(entries.map(({ owner }) => owner));
  const todo = [...owners].map((owner) => ({ parent: topOf(owner), owner }));
  for (let at = todo.pop(); at !== undefined; at = todo.pop()) {
    for (const entry of byParent.get(at.parent) ?? []) {
      if (entry.owner !== at.owner) continue;
      if (entry.type === 'folder') todo.push({ parent: entry.id, owner: at.owner });
      else if (entry.file_id === null || ownerOf.get(entry.file_id) !== at.owner) continue;
      else ownerOf.delete(entry.file_id);
      found.push(entry);
    }
  }
  return found;
}

/** Reading out and putting back the tables in memory. */
import { NexusError } from '../../shared/errors.js';
import type { EntryId, FileId, NodeId } from '../../shared/ids.js';
import type {
  ArchiveContent,
  ArchivedAccount,
  ArchivedEntry,
  ArchivedFile,
  ArchiveStore,
} from '../../controller/store/port/archive.js';
import { charge, ensureAccount } from './store-entries.js';
import { chunkRecords } from './store-files.js';
import type { FileTables } from './store-tables.js';
import type { NodeRecord } from '../../controller/store/port/store.js';

type Tables = FileTables & { readonly nodes: Map<NodeId, NodeRecord> };
type Run = <Result>(work: (tables: Tables) => Result) => Promise<Result>;

export class FakeArchiveStore implements ArchiveStore {
  constructor(
    private readonly read: Run,
    private readonly write: Run,
    readonly revision: () => number,
  ) {}

  accounts(): Promise<readonly ArchivedAccount[]> {
    return this.read(({ accounts }) =>
      [...accounts.values()]
        .sort((one, other) => (one.owner < other.owner ? -1 : 1))
        .map(({ owner, limit, createdAt }) => ({ owner, limit, createdAt })),
    );
  }

  entries(after: EntryId | '', limit: number): Promise<readonly ArchivedEntry[]> {
    return this.read(({ entries }) => pageOf([...entries.values()], after, limit));
  }

  files(after: FileId | '', limit: number): Promise<readonly ArchivedFile[]> {
    return this.read((tables) => {
      const kept = [...tables.files.values()].filter(({ status }) => status === 'ready' || status === 'partial');
      return pageOf(kept, after, limit).map((file) => ({
        file,
        chunks: chunkRecords(tables, file.id).filter((chunk) => chunk.index < file.chunksCount),
      }));
    });
  }

  isEmpty(): Promise<boolean> {
    return this.read(({ nodes, files, entries, chunks }) => nodes.size + files.size + entries.size + chunks.size === 0);
  }

  restore({ nodes, accounts, entries, files }: ArchiveContent): Promise<void> {
    return this.write((tables) => {
      for (const node of nodes) put(tables.nodes, node.id, node);
      for (const { owner, limit, createdAt } of accounts) {
        ensureAccount(tables, owner, createdAt);
        const account = tables.accounts.get(owner);
        if (account !== undefined) tables.accounts.set(owner, { ...account, limit });
      }
      for (const entry of entries) put(tables.entries, entry.id, entry);
      for (const { file, chunks } of files) {
        put(tables.files, file.id, file);
        ensureAccount(tables, file.owner, file.createdAt);
        charge(tables, file.owner, { used: file.size });
        for (const { replicas, ...chunk } of chunks)
          put(tables.chunks, chunk.id, {
            ...chunk,
            copies: new Map(replicas.map(({ nodeId, state }) => [nodeId, state])),
          });
      }
    });
  }
}

const pageOf = <Row extends { readonly id: string }>(rows: readonly Row[], after: string, limit: number): Row[] =>
  rows
    .filter((row) => row.id > after)
    .sort((one, other) => (one.id < other.id ? -1 : 1))
    .slice(0, limit);

function put<Key extends string, Row>(table: Map<Key, Row>, key: Key, row: Row): void {
  if (table.has(key)) throw new NexusError('already_exists', `${key} is there already`);
  table.set(key, row);
}

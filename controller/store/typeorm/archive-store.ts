/** Reads whole tables, and writes them back. */
import type { EntityManager } from 'typeorm';
import type { EntryId, FileId } from '../../../shared/ids.js';
import type { ArchiveContent, ArchivedAccount, ArchivedEntry, ArchivedFile, ArchiveStore } from '../port/archive.js';
import { nodeRow } from './node-store.js';
import { ChunkEntity, FileEntity, NodeEntity, ReplicaEntity } from './entities.js';
import { charge, ensureAccount } from './accounts.js';
import { checkedId, chunksOfFiles, parts } from './chunks.js';
import type { Database } from './database.js';
import { insertEntries } from './entries.js';
import { query } from './query.js';

type Numbers<Row> = { readonly [K in keyof Row]: Row[K] | string };

export class TypeormArchiveStore implements ArchiveStore {
  constructor(private readonly database: Database) {}

  revision(): number {
    return this.database.writes;
  }

  async accounts(): Promise<readonly ArchivedAccount[]> {
    const rows = await this.database.read((manager) =>
      query<Numbers<ArchivedAccount>>(
        manager,
        'SELECT owner AS "owner", quota AS "limit", created_at AS "createdAt" FROM accounts ORDER BY owner',
      ),
    );
    return rows.map(({ owner, limit, createdAt }) => ({
      owner,
      limit: limit === null ? null : Number(limit),
      createdAt: Number(createdAt),
    }));
  }

  async entries(after: EntryId | '', limit: number): Promise<readonly ArchivedEntry[]> {
    const rows = await this.database.read((manager) =>
      query<Numbers<ArchivedEntry>>(
        manager,
        `SELECT id AS "id", owner AS "owner", parent_id AS "parentId", name AS "name", type AS "type",
                file_id AS "fileId", created_at AS "createdAt", modified_at AS "modifiedAt"
           FROM entries WHERE id > ? ORDER BY id LIMIT ${Math.trunc(limit)}`,
        [after],
      ),
    );
    return rows.map((row) => ({
      ...(row as ArchivedEntry),
      createdAt: Number(row.createdAt),
      modifiedAt: Number(row.modifiedAt),
    }));
  }

  async files(after: FileId | '', limit: number): Promise<readonly ArchivedFile[]> {
    const files = await this.database.read((manager) =>
      manager
        .createQueryBuilder(FileEntity, 'file')
        .where("file.id > :after AND file.status IN ('ready', 'partial')", { after })
        .orderBy('file.id')
        .limit(limit)
        .getMany(),
    );
    const chunks = await this.database.read((manager) => chunksOfFiles(manager, files));
    return files.map((file) => ({ file, chunks: chunks.get(file.id) ?? [] }));
  }

  async isEmpty(): Promise<boolean> {
    const [row] = await this.database.read((manager) =>
      query<{ kept: number | string }>(
        manager,
        `SELECT (SELECT COUNT(*) FROM nodes) + (SELECT COUNT(*) FROM files) + (SELECT COUNT(*) FROM entries)
              + (SELECT COUNT(*) FROM chunks) AS "kept"`,
      ),
    );
    return Number(row?.kept ?? 0) === 0;
  }

  async restore({ nodes, accounts, entries, files }: ArchiveContent): Promise<void> {
    await this.database.write(async (manager) => {
      for (const node of nodes) await manager.insert(NodeEntity, nodeRow(node));
      for (const { owner, limit, createdAt } of accounts) {
        await ensureAccount(manager, owner, createdAt);
        await query(manager, 'UPDATE accounts SET quota = ? WHERE owner = ?', [limit, owner]);
      }
      for (const part of parts(entries)) await insertEntries(manager, part);
      for (const part of parts(files)) await restoreFiles(manager, part);
    });
  }
}

async function restoreFiles(manager: EntityManager, files: readonly ArchivedFile[]): Promise<void> {
  // Without reading the columns' defaults back, which would take a condition of a thousand parts.
  await manager
    .createQueryBuilder()
    .insert()
    .into(FileEntity)
    .values(files.map(({ file }) => ({ ...file })))
    .updateEntity(false)
    .execute();
  const sums = new Map<string, { used: number; since: number }>();
  for (const { file } of files) {
    const { used, since } = sums.get(file.owner) ?? { used: 0, since: file.createdAt };
    sums.set(file.owner, { used: used + file.size, since: Math.min(since, file.createdAt) });
  }
  for (const [owner, { used, since }] of sums) {
    await ensureAccount(manager, owner, since);
    await charge(manager, owner, { used });
  }
  const chunks = files.flatMap((archived) => archived.chunks);
  const explicit = new Set(files.filter(({ file }) => file.explicitSizes).map(({ file }) => file.id));
  const rows = chunks.map(({ id, fileId, index, size, offset, md5 }) => ({
    id: checkedId(id) as typeof id,
    fileId,
    index,
    size,
    offset: explicit.has(fileId) ? offset : null,
    md5,
  }));
  const copies = chunks.flatMap(({ id, replicas }) =>
    replicas.map(({ nodeId, state }) => ({ chunkId: id, nodeId, state, reason: 'restored from a copy of the state' })),
  );
  for (const part of parts(rows)) await manager.insert(ChunkEntity, [...part]);
  for (const part of parts(copies)) await manager.insert(ReplicaEntity, [...part]);
}

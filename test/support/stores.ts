/** Each implementation of the store, new and empty: the contract suites run over all of them. */
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { FakeStore } from '../fakes/store.js';
import type { Store } from '../../controller/store/port/store.js';
import { postgres } from '../../controller/store/postgres/open.js';
import { sqlite } from '../../controller/store/sqlite/open.js';
import { openStore } from '../../controller/store/typeorm/store.js';
import { createLogger } from '../../shared/log.js';
import { testPostgres, whyNoPostgres } from './postgres.js';

export interface OpenedStore {
  readonly store: Store;
  dispose(): Promise<void>;
}

interface StoreKind {
  readonly name: string;
  readonly open: () => Promise<OpenedStore>;
}

const log = createLogger('test', 'silent');

const ON_POSTGRES: StoreKind = {
  name: 'TypeORM on PostgreSQL',
  open: async () => {
    const store = await openStore(postgres((await testPostgres()).location()), log);
    return { store, dispose: () => store.erase() };
  },
};

/** A suite that can't run shows as skipped, and says why; on CI's machine its tests run, and fail. */
function postgresIfThere(): readonly StoreKind[] {
  const reason = whyNoPostgres();
  if (reason === undefined || process.env['NEXUS_REQUIRE_SYSTEM'] === '1') return [ON_POSTGRES];
  describe(`store, ${ON_POSTGRES.name}`, () => {
    it('keeps the contract', function () {
      process.stderr.write(`    skipped: ${reason}\n`);
      this.skip();
    });
  });
  return [];
}

export const STORES: readonly StoreKind[] = [
  {
    name: 'in memory',
    open: () => {
      const store = new FakeStore();
      return Promise.resolve({ store, dispose: () => store.close() });
    },
  },
  {
    name: 'TypeORM on SQLite',
    open: async () => {
      const folder = await mkdtemp(join(tmpdir(), 'nexus-store-'));
      const store = await openStore(sqlite({ path: join(folder, 'nexus.db') }), log);
      return {
        store,
        dispose: async () => {
          await store.close();
          await rm(folder, { recursive: true });
        },
      };
    },
  },
  ...postgresIfThere(),
];

/** Each implementation of the store, new and empty: the contract suites run over all of them. */
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { FakeStore } from '../../controller/store/fake.js';
import type { Store } from '../../controller/store/port.js';
import { openStore } from '../../controller/store/typeorm.js';
import { createLogger } from '../../shared/log.js';

export interface OpenedStore {
  readonly store: Store;
  dispose(): Promise<void>;
}

export const STORES: readonly { readonly name: string; readonly open: () => Promise<OpenedStore> }[] = [
  {
    name: 'in memory',
    open: async () => {
      const store = new FakeStore();
      return { store, dispose: () => store.close() };
    },
  },
  {
    name: 'TypeORM on SQLite',
    open: async () => {
      const folder = await mkdtemp(join(tmpdir(), 'nexus-store-'));
      const store = await openStore({ path: join(folder, 'nexus.db'), log: createLogger('test', 'silent') });
      return {
        store,
        dispose: async () => {
          await store.close();
          await rm(folder, { recursive: true });
        },
      };
    },
  },
];

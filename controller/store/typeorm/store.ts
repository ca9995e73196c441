/** The store over TypeORM: the parts of the store over one database. */
import type { Logger } from '../../../shared/log.js';
import type { ArchiveStore } from '../port/archive.js';
import { TypeormArchiveStore } from './archive-store.js';
import { ENTITIES } from './entities.js';
import { TypeormEventStore } from './event-store.js';
import type { FsStore } from '../port/fs.js';
import { TypeormFileStore } from './file-store.js';
import { Initial0001 } from '../migrations/0001-initial.js';
import { Repair0003 } from '../migrations/0003-repair.js';
import { Vfs0004 } from '../migrations/0004-vfs.js';
import { EventOwners0005 } from '../migrations/0005-event-owners.js';
import { Hosting0006 } from '../migrations/0006-hosting.js';
import { ChunkSizes0007 } from '../migrations/0007-chunk-sizes.js';
import { TypeormFsStore } from './fs-store.js';
import { TypeormNodeStore } from './node-store.js';
import type { EventStore, FileStore, NodeStore, Store } from '../port/store.js';
import type { MarkStore, ReplicaStore } from '../port/replicas.js';
import { TypeormMarkStore, TypeormReplicaStore } from './replica-store.js';
import type { OpenDatabase, TypeormDatabase } from './database.js';

const MIGRATIONS = [Initial0001, Repair0003, Vfs0004, EventOwners0005, Hosting0006, ChunkSizes0007];

/** Opens (and migrates) the store. Codes: those of `OpenDatabase`. */
export async function openStore(open: OpenDatabase, log: Logger): Promise<Store> {
  return new TypeormStore(await open({ entities: ENTITIES, migrations: MIGRATIONS }, log));
}

class TypeormStore implements Store {
  readonly nodes: NodeStore;
  readonly files: FileStore;
  readonly fs: FsStore;
  readonly archive: ArchiveStore;
  readonly replicas: ReplicaStore;
  readonly marks: MarkStore;
  readonly events: EventStore;

  constructor(private readonly database: TypeormDatabase) {
    this.nodes = new TypeormNodeStore(database);
    this.files = new TypeormFileStore(database);
    this.fs = new TypeormFsStore(database);
    this.archive = new TypeormArchiveStore(database);
    this.replicas = new TypeormReplicaStore(database);
    this.marks = new TypeormMarkStore(database);
    this.events = new TypeormEventStore(database);
  }

  close(): Promise<void> {
    return this.database.close();
  }

  erase(): Promise<void> {
    return this.database.erase();
  }
}

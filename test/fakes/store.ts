/**
 * The store in memory, for tests of what stands on it. Keeps the port's promises but durability: a write is one step,
 * done whole or not at all. Scriptable: the next writes can be made to fail.
 */
import { Limit } from '../../shared/async/turns.js';
import { NexusError } from '../../shared/errors.js';
import type { NodeId } from '../../shared/ids.js';
import { MAX_EVENTS } from '../../controller/store/port/bounds.js';
import type { ArchiveStore } from '../../controller/store/port/archive.js';
import { FakeArchiveStore } from './store-archive.js';
import { FakeFileStore } from './store-files.js';
import { FakeFsStore } from './store-fs.js';
import { FakeReplicaStore } from './store-replicas.js';
import { emptyFileTables, type FileTables } from './store-tables.js';
import type { FsStore } from '../../controller/store/port/fs.js';
import { lowestFreeSlot, nameTaken, noSuchNode, slotTaken } from '../../controller/store/port/node-rules.js';
import type { MarkStore, ReplicaStore } from '../../controller/store/port/replicas.js';
import type {
  EventRecord,
  EventStore,
  FileStore,
  NodePatch,
  NodeRecord,
  NodeStore,
  Store,
} from '../../controller/store/port/store.js';

interface Tables extends FileTables {
  readonly nodes: Map<NodeId, NodeRecord>;
  events: EventRecord[];
  lastEventId: number;
  readonly marks: Map<string, number>;
}

export class FakeStore implements Store {
  readonly nodes: NodeStore;
  readonly files: FileStore;
  readonly fs: FsStore;
  readonly archive: ArchiveStore;
  readonly replicas: ReplicaStore;
  readonly marks: MarkStore;
  readonly events: EventStore;
  readonly #writing = new Limit(1);
  #tables: Tables = { ...emptyFileTables(), nodes: new Map(), events: [], lastEventId: 0, marks: new Map() };
  #failures: { left: number; error: Error } = { left: 0, error: new Error('unused') };
  #open = true;
  #writes = 0;

  constructor() {
    const read = <Result>(work: (tables: Tables) => Result): Promise<Result> => this.#read(work);
    const write = <Result>(work: (tables: Tables) => Result): Promise<Result> => this.#write(work);
    this.nodes = fakeNodes(read, write);
    this.files = new FakeFileStore(read, write);
    this.fs = new FakeFsStore(read, write);
    this.archive = new FakeArchiveStore(read, write, () => this.#writes);
    this.replicas = new FakeReplicaStore(read, write);
    this.marks = {
      get: (name) => read(({ marks }) => marks.get(name)),
      set: (name, value) =>
        write(({ marks }) => {
          marks.set(name, value);
        }),
    };
    this.events = fakeEvents(read, write);
  }

  /** The next `count` writes fail with `error` and change nothing. */
  failNextWrites(count: number, error: Error = new NexusError('resource_exhausted', 'the disk is full')): void {
    this.#failures = { left: count, error };
  }

  close(): Promise<void> {
    return this.#writing.run(async () => {
      this.#open = false;
    });
  }

  async erase(): Promise<void> {
    await this.close();
    this.#tables = { ...emptyFileTables(), nodes: new Map(), events: [], lastEventId: 0, marks: new Map() };
  }

  async #read<Result>(work: (tables: Tables) => Result): Promise<Result> {
    this.#assertOpen();
    return structuredClone(work(this.#tables));
  }

  /** On a copy that takes the place of the tables when all went well: a transaction in miniature. */
  #write<Result>(work: (tables: Tables) => Result): Promise<Result> {
    return this.#writing.run(async () => {
      this.#assertOpen();
      if (this.#failures.left > 0) {
        this.#failures.left -= 1;
        throw this.#failures.error;
      }
      const draft = structuredClone(this.#tables);
      const result = work(draft);
      // What is written is seen later than it was asked for, as on a disk.
      await Promise.resolve();
      this.#tables = draft;
      this.#writes += 1;
      return structuredClone(result);
    });
  }

  #assertOpen(): void {
    if (!this.#open) throw new NexusError('unavailable', 'the store is closed: the controller is stopping');
  }
}

type Run = <Result>(work: (tables: Tables) => Result) => Promise<Result>;

function fakeNodes(read: Run, write: Run): NodeStore {
  return {
    reserve: (slots: number, make: (slot: number) => NodeRecord, held: ReadonlySet<number> = new Set()) =>
      write(({ nodes }) => {
        const used = [...nodes.values()];
        const record = make(lowestFreeSlot([...used.map((node) => node.hosting.slot), ...held], slots));
        if (used.some((node) => node.name === record.name)) throw nameTaken(record.name);
        nodes.set(record.id, record);
        return record;
      }),
    insert: (record: NodeRecord) =>
      write(({ nodes }) => {
        const used = [...nodes.values()];
        if (used.some(({ hosting }) => hosting.slot === record.hosting.slot)) throw slotTaken(record.hosting.slot);
        if (used.some((node) => node.name === record.name)) throw nameTaken(record.name);
        nodes.set(record.id, record);
      }),
    get: (id: NodeId) => read(({ nodes }) => nodes.get(id)),
    list: () => read(({ nodes }) => [...nodes.values()].sort((one, other) => one.hosting.slot - other.hosting.slot)),
    update: (id: NodeId, patch: NodePatch) =>
      write(({ nodes }) => {
        const before = nodes.get(id);
        if (before === undefined) throw noSuchNode(id);
        const after = { ...before, ...patch };
        nodes.set(id, after);
        return after;
      }),
    remove: (id: NodeId) =>
      write(({ nodes }) => {
        nodes.delete(id);
      }),
  };
}

function fakeEvents(read: Run, write: Run): EventStore {
  return {
    append: (event: Omit<EventRecord, 'id'>) =>
      write((tables) => {
        tables.lastEventId += 1;
        const stored = { id: tables.lastEventId, ...event };
        tables.events = [...tables.events, stored].slice(-MAX_EVENTS);
        return stored;
      }),
    list: (afterId: number) => read(({ events }) => events.filter((event) => event.id > afterId)),
  };
}

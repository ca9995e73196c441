/**
 * Files with unreadable chunks, found by a survey of all chunks: counted for status and metrics, and reported to their
 * owners once. Each file's trouble follows the rules of file/health.ts.
 */
import type { FileId, NodeId } from '../../shared/ids.js';
import { worse, type FileHealth } from '../file/health.js';
import type { StoredChunk } from '../store/port/replicas.js';
import type { RepairDeps } from './deps.js';

/** State of a file with at least one unreadable chunk. */
type Trouble = Exclude<FileHealth, 'ready' | 'partial'>;

/** Files named in a warning. */
const NAMED_FILES = 3;
/** Files counted in one survey: takes some megabytes. */
const MAX_TROUBLED = 100_000;
/** Events of one survey: the history is bounded and must keep room for others. */
const MAX_TOLD = 20;

export interface TroubleSummary {
  /** Some of the files, the worst first. */
  readonly lostFiles: readonly FileId[];
  readonly filesInTrouble: Readonly<Record<Trouble, number>>;
  /** Nodes with whole copies of unreadable chunks. */
  readonly lostOn: readonly NodeId[];
}

export const NO_TROUBLE: TroubleSummary = {
  lostFiles: [],
  filesInTrouble: { unavailable: 0, damaged: 0, lost: 0 },
  lostOn: [],
};

/** The troubled files of one survey. */
export class Troubles {
  readonly #files = new Map<FileId, Trouble>();
  readonly #holders = new Set<NodeId>();

  /** Adds a chunk without a whole copy that can be read now. */
  add({ fileId, replicas }: StoredChunk): void {
    for (const { nodeId, state } of replicas) if (state === 'ready') this.#holders.add(nodeId);
    const has = (state: string): boolean => replicas.some((copy) => copy.state === state);
    const trouble = has('ready') ? 'unavailable' : has('corrupt') ? 'damaged' : 'lost';
    const known = this.#files.get(fileId);
    if (known !== undefined) this.#files.set(fileId, worse(known, trouble) as Trouble);
    else if (this.#files.size < MAX_TROUBLED) this.#files.set(fileId, trouble);
  }

  summary(): TroubleSummary {
    const filesInTrouble = { unavailable: 0, damaged: 0, lost: 0 };
    for (const trouble of this.#files.values()) filesInTrouble[trouble] += 1;
    const of = (wanted: Trouble): FileId[] => [...this.#files].filter(([, is]) => is === wanted).map(([id]) => id);
    const worstFirst = [...of('lost'), ...of('damaged'), ...of('unavailable')];
    return { lostFiles: worstFirst.slice(0, NAMED_FILES), filesInTrouble, lostOn: [...this.#holders] };
  }

  /** Reports files damaged or lost since `before`, at most MAX_TOLD; the list of files has the rest. */
  async tellOwners({ events, store }: Pick<RepairDeps, 'events' | 'store'>, before: Troubles): Promise<void> {
    let told = 0;
    for (const [id, trouble] of this.#files) {
      if (told >= MAX_TOLD) return;
      if (trouble === 'unavailable' || before.#files.get(id) === trouble) continue;
      const file = await store.getFile(id);
      if (file === undefined) continue;
      const left = trouble === 'damaged' ? 'only damaged copies are left' : 'no copy is left';
      const message = `${left} of parts of file ${file.name} (${id}); store it again`;
      await events.append(`file.${trouble}`, id, message, file.owner);
      told += 1;
    }
  }
}

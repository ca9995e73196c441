/**
 * Copies that somebody found wrong: a reader, an agent that copied. Whoever says so may be mistaken or lie, so the
 * node's own agent reads the copy again before anything is done. What it confirms is marked, told and repaired.
 */
import { toNexusError } from '../../shared/errors.js';
import type { ChunkId, NodeId } from '../../shared/ids.js';
import type { ReplicaFinding } from '../file/nodes.js';
import type { StoredChunk } from '../store/port/replicas.js';
import type { RepairDeps } from './deps.js';

/** Checks at once; more reports than this are dropped, as readers and scrub will find the same again. */
const MAX_CHECKS = 16;
/** Copies known to be bad that are read again in one command. */
const RECHECKED = 16;

export class Suspicions {
  readonly #checking = new Set<string>();
  readonly #running = new Set<Promise<void>>();

  /** `kick` makes repair look soon. */
  constructor(
    private readonly deps: Pick<RepairDeps, 'replicas' | 'nodes' | 'events' | 'log'>,
    private readonly kick: () => void,
  ) {}

  /** Returns at once; never fails. */
  raise(chunk: ChunkId, node: NodeId): void {
    const key = `${chunk}@${node}`;
    if (this.#checking.has(key) || this.#checking.size >= MAX_CHECKS) return;
    this.#checking.add(key);
    const check = this.#check(chunk, node)
      .catch((error: unknown) => {
        this.deps.log.info({ chunk, node, said: toNexusError(error).message }, 'a suspicion could not be checked');
      })
      .finally(() => {
        this.#checking.delete(key);
        this.#running.delete(check);
      });
    this.#running.add(check);
  }

  /** Waits for what runs. */
  async settled(): Promise<void> {
    await Promise.all(this.#running);
  }

  async #check(chunkId: ChunkId, node: NodeId): Promise<void> {
    const chunk = await this.deps.replicas.find(chunkId);
    if (chunk?.replicas.some((copy) => copy.nodeId === node && copy.state === 'ready') !== true) return;
    const { size, md5 } = chunk;
    for (const finding of await this.deps.nodes.verifyChunks(node, [{ chunkId, size, md5 }], 0)) {
      await this.confirm(chunk, node, finding);
    }
  }

  /**
   * Reads what is thought missing or corrupt again: a volume may have been mended, a reader mistaken. Answers how many
   * copies were read, and how many of them are bad still. `rate` in bytes a second; 0: no limit.
   */
  async recheck(
    node: NodeId,
    rate: number,
    signal: AbortSignal,
  ): Promise<{ chunks: number; bytes: number; bad: number }> {
    const { replicas, nodes, events } = this.deps;
    const sums = { chunks: 0, bytes: 0, bad: 0 };
    for (let after = ''; !signal.aborted;) {
      const chunks = await replicas.badOn(node, { after, limit: RECHECKED });
      const expected = chunks.map(({ id, size, md5 }) => ({ chunkId: id, size, md5 }));
      const findings = chunks.length === 0 ? [] : await nodes.verifyChunks(node, expected, rate);
      const bad = new Set(findings.map(({ chunkId }) => chunkId));
      for (const chunk of chunks.filter(({ id }) => !bad.has(id))) {
        if (!(await replicas.markWhole({ chunkId: chunk.id, nodeId: node }))) continue;
        const what = `chunk ${chunk.index} of file ${chunk.fileId} on node ${nodes.find(node)?.name ?? node} is intact again`;
        await events.append('replica.restored', chunk.fileId, what);
        this.kick();
      }
      sums.chunks += chunks.length;
      sums.bytes += chunks.reduce((sum, chunk) => sum + chunk.size, 0);
      sums.bad += bad.size;
      if (chunks.length < RECHECKED) break;
      after = chunks.at(-1)?.id ?? '';
    }
    return sums;
  }

  /** True when the copy counted as whole until now. */
  async confirm(
    chunk: Pick<StoredChunk, 'id' | 'fileId' | 'index'>,
    node: NodeId,
    { state, found }: Pick<ReplicaFinding, 'state' | 'found'>,
  ): Promise<boolean> {
    if (state === 'unreadable') return false;
    if (!(await this.deps.replicas.markBad({ chunkId: chunk.id, nodeId: node }, state))) return false;
    const name = this.deps.nodes.find(node)?.name ?? node;
    const what = `chunk ${chunk.index} of file ${chunk.fileId} on node ${name} is ${state}: ${found}`;
    await this.deps.events.append(`replica.${state}`, chunk.fileId, what);
    this.kick();
    return true;
  }
}

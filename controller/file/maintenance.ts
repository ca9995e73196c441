/**
 * Background work for files: expires uploads without progress, and deletes copies that are no longer wanted from their
 * nodes, again and again until the agent has confirmed.
 */
import { toNexusError } from '../../shared/errors.js';
import type { NodeId } from '../../shared/ids.js';
import type { CallsUnderWay } from './calls-under-way.js';
import type { FileDeps } from './deps.js';

/** Deletions sent in one command: well under a second of work for an agent. */
const DELETES_PER_COMMAND = 500;

export class FileMaintenance {
  constructor(
    private readonly deps: FileDeps,
    private readonly calls: CallsUnderWay,
  ) {}

  async tick(signal: AbortSignal): Promise<void> {
    await this.#expireUploads();
    const nodes = await this.deps.store.doomedNodes();
    await Promise.all(nodes.map((node) => this.#deleteOn(node, signal)));
  }

  async #expireUploads(): Promise<void> {
    const { store, clock, events } = this.deps;
    const now = clock.now();
    for (const id of await store.expiredUploads(now)) {
      if (this.calls.has(id)) continue;
      // It may have received grants, or been committed, since it was listed.
      if (!(await store.expireUpload(id, now))) continue;
      await events.append('upload.expired', id, `upload ${id} made no progress and was undone`);
    }
  }

  async #deleteOn(node: NodeId, signal: AbortSignal): Promise<void> {
    const { store, nodes, log } = this.deps;
    while (!signal.aborted) {
      // A node that is away, or whose volume is not writable, is asked when it is back.
      if (nodes.find(node)?.writable !== true) return;
      const doomed = await store.doomedReplicas(DELETES_PER_COMMAND, node);
      if (doomed.length === 0) return;
      try {
        const confirmed = new Set(
          await nodes.deleteChunks(
            node,
            doomed.map((copy) => copy.chunkId),
          ),
        );
        const gone = doomed.filter((copy) => confirmed.has(copy.chunkId));
        await store.forgetReplicas(gone);
        if (gone.length < doomed.length) return;
      } catch (error) {
        log.info({ node, said: toNexusError(error).message }, 'chunks could not be deleted yet');
        return;
      }
    }
  }
}

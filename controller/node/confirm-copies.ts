/**
 * Checks, before the copies on a node are deleted, that the other holders still have theirs. The catalogue may be out
 * of date, as a volume may have failed a moment ago, so each holder lists what is on its volume now.
 */
import { toNexusError } from '../../shared/errors.js';
import type { ChunkId, FileId, NodeId } from '../../shared/ids.js';
import type { NodeContext } from './context.js';

const PAGE = 1000;
const LIST_TIMEOUT_MS = 30_000;
const NAMED_FILES = 100;

export interface Unconfirmed {
  readonly chunks: number;
  /** Some of the files that the chunks belong to. */
  readonly files: readonly FileId[];
  /** Holders that could not be asked, each with the reason. */
  readonly silent: readonly string[];
}

/**
 * Finds chunks with a whole copy on `node` of which none of `holders` lists another. Failing holders don't reject it.
 */
export async function unconfirmedOn(
  context: NodeContext,
  node: NodeId,
  holders: readonly NodeId[],
): Promise<Unconfirmed> {
  const files = new Map<ChunkId, FileId>();
  const wanted = new Map<NodeId, Set<ChunkId>>();
  for (let after = ''; ;) {
    const page = await context.replicas.walk({ after, limit: PAGE });
    for (const chunk of page) {
      const ready = chunk.replicas.filter(({ state }) => state === 'ready').map(({ nodeId }) => nodeId);
      if (!ready.includes(node)) continue;
      files.set(chunk.id, chunk.fileId);
      for (const id of ready) {
        if (id === node || !holders.includes(id)) continue;
        wanted.set(id, (wanted.get(id) ?? new Set<ChunkId>()).add(chunk.id));
      }
    }
    if (page.length < PAGE) break;
    after = page.at(-1)?.id ?? '';
  }
  const silent: string[] = [];
  await Promise.all(
    [...wanted].map(async ([holder, chunks]) => {
      try {
        for await (const id of listed(context, holder)) if (chunks.has(id)) files.delete(id);
      } catch (error) {
        silent.push(`${context.registry.get(holder)?.name ?? holder}: ${toNexusError(error).message}`);
      }
    }),
  );
  return { chunks: files.size, files: [...new Set(files.values())].slice(0, NAMED_FILES), silent };
}

async function* listed({ bus }: NodeContext, holder: NodeId): AsyncGenerator<ChunkId> {
  for (let after = ''; ;) {
    const { chunks } = await bus.request(holder, { listChunks: { after, limit: PAGE } }, LIST_TIMEOUT_MS);
    for (const { chunkId } of chunks) yield chunkId as ChunkId;
    const last = chunks.at(-1)?.chunkId ?? '';
    // Stop if the agent does not advance: it would be asked forever.
    if (chunks.length < PAGE || last <= after) return;
    after = last;
  }
}

/**
 * Health of stored files: derived from the copies and the state of the nodes at the time of the call, so that no record
 * can be out of date. A page of files takes two queries, however many are in trouble.
 */
import type { FileId } from '../../shared/ids.js';
import type { FileStatus } from '../store/port/store.js';
import type { FileTrouble } from '../store/port/replicas.js';
import type { FileDeps } from './deps.js';

/**
 * ready: every byte can be read now. unavailable: it can when nodes that are down are back. damaged: some chunk has
 * only damaged copies left. lost: some chunk has no copy left. partial: it was rebuilt without some chunks.
 */
export type FileHealth = 'ready' | 'unavailable' | 'partial' | 'damaged' | 'lost';
/** Status of a file as clients see it. */
export type ShownStatus = FileHealth | FileStatus;

/** The worst of its chunks counts: what never comes back outweighs what may. */
export function healthOf(trouble: FileTrouble | undefined): FileHealth {
  if (trouble === undefined) return 'ready';
  if (trouble.gone > 0) return 'lost';
  if (trouble.damaged > 0) return 'damaged';
  if (trouble.isPartial) return 'partial';
  return trouble.unreachable > 0 ? 'unavailable' : 'ready';
}

const ORDER: readonly FileHealth[] = ['ready', 'unavailable', 'partial', 'damaged', 'lost'];

export const worse = (one: FileHealth, other: FileHealth): FileHealth =>
  ORDER.indexOf(one) < ORDER.indexOf(other) ? other : one;

export type HealthDeps = Pick<FileDeps, 'replicas' | 'nodes'>;

/** Health of published files, at most 1,000 at a time; the result leaves out those that are ready. */
export async function healthOfFiles(
  { replicas, nodes }: HealthDeps,
  files: readonly FileId[],
): Promise<ReadonlyMap<FileId, FileHealth>> {
  const readable = nodes.snapshot().filter((node) => node.readable);
  const troubles = await replicas.troubles(
    files,
    readable.map((node) => node.id),
  );
  return new Map([...troubles].map(([id, trouble]) => [id, healthOf(trouble)]));
}

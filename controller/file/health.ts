/**
 * Whether the bytes of a stored file can be had: derived from its copies and the nodes as they are when somebody asks,
 * so that no record can be out of date. Lists ask for a page of files with two queries, whatever is in trouble.
 */
import type { FileId } from '../../shared/ids.js';
import type { FileStatus } from '../store/port/store.js';
import type { FileTrouble } from '../store/port/replicas.js';
import type { FileDeps } from './deps.js';

/**
 * ready: every byte can be read now. unavailable: it can when nodes that are down are back. damaged: of some chunk only
 * damaged copies are left. lost: of some chunk no copy is left. partial: it was put together without some chunks.
 */
export type FileHealth = 'ready' | 'unavailable' | 'partial' | 'damaged' | 'lost';
/** What the outside sees as a file's status. */
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

/** Of published files; those that are well are not in the answer. At most 1,000 at a time. */
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

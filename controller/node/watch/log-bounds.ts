/**
 * Limits the size of node logs that have no writer: those of nodes started by an earlier version, whose agents append
 * to the file themselves. A line written while the log is rotated may be lost.
 */
import { existsSync } from 'node:fs';
import { readdir, rm, stat } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';
import type { Settings } from '../../../shared/config/settings.js';
import type { NodeId } from '../../../shared/ids.js';
import { MIB } from '../../../shared/limits.js';
import { beginLogAnew } from '../../../shared/log-files.js';
import { logRecord, nodeLog } from '../paths.js';

type Bounds = Pick<Settings, 'stateDir' | 'runDir' | 'logMaxMb' | 'logFiles'>;

/** Check interval: a log may exceed its limit by the output of this time. */
export const LOG_BOUNDS_PERIOD_MS = 1000;

/**
 * Called by the daemon's loop. `written`: the nodes seen with a writer, which they have from then on; nodes that are not
 * listed any more are taken out.
 */
export async function boundLogs(settings: Bounds, nodes: readonly NodeId[], written: Set<NodeId>): Promise<void> {
  const known = new Set(nodes);
  for (const id of written) if (!known.has(id)) written.delete(id);
  for (const id of nodes) {
    if (written.has(id)) continue;
    if (existsSync(logRecord(settings, id))) {
      written.add(id);
      continue;
    }
    const path = nodeLog(settings, id);
    const size = await stat(path).then(
      (found) => found.size,
      () => 0,
    );
    if (size > settings.logMaxMb * MIB) await beginLogAnew(path, settings.logFiles);
  }
}

/** Removes the log of a removed node, with its older files. */
export async function removeLogs(settings: Bounds, node: NodeId): Promise<void> {
  const path = nodeLog(settings, node);
  const names: string[] = await readdir(dirname(path)).catch(() => []);
  for (const name of names) if (name.startsWith(basename(path))) await rm(join(dirname(path), name), { force: true });
}

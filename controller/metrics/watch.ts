/**
 * Streams new figures to a watcher: of all nodes until the watcher leaves, or of one node until it has none any more.
 */
import { Bell } from '../../shared/async/bell.js';
import type { NodeContext } from '../node/context.js';
import { noNodeCalled } from '../node/registry.js';
import type { NodeStatus } from '../node/state.js';
import type { NodeRecord } from '../store/port/store.js';
import { assertFigures } from './figures.js';
import type { Sample } from './sample.js';

/** Limits the figures that wait for a slow watcher; beyond it the oldest are dropped, since newer ones replace them. */
const MAX_WAITING = 1000;

const PASSING: ReadonlySet<NodeStatus> = new Set(['Creating', 'Stopping', 'Removing']);

export interface FiguresWatch {
  /** The node as the caller named it; empty: all nodes. */
  readonly reference: string;
  readonly signal: AbortSignal;
  /** Awaited before the next figures are sent. */
  readonly send: (node: NodeRecord, sample: Sample) => Promise<void>;
}

/**
 * Ends when `signal` is aborted. Codes for a single node, at the start or later: not_found, failed_precondition (it is
 * down or Lost).
 */
export async function watchFigures(
  { metrics, registry, events }: Pick<NodeContext, 'metrics' | 'registry' | 'events'>,
  { reference, signal, send }: FiguresWatch,
): Promise<void> {
  const wanted = reference === '' ? undefined : registry.resolve(reference).id;
  const waiting: (readonly [NodeRecord, Sample])[] = [];
  const news = new Bell();
  const stopHearing = metrics.listen((id, sample) => {
    const node = registry.get(id);
    if (node === undefined || (wanted !== undefined && id !== wanted)) return;
    waiting.push([node, sample]);
    if (waiting.length > MAX_WAITING) waiting.shift();
    news.ring();
  });
  const stopListening = events.listen(({ type }) => {
    if (type.startsWith('node.')) news.ring();
  });
  try {
    while (!signal.aborted) {
      if (wanted !== undefined) assertWatchable(registry.get(wanted) ?? missing(reference));
      const next = waiting.shift();
      if (next !== undefined) await send(...next);
      else await news.wait({ signal });
    }
  } finally {
    stopListening();
    stopHearing();
  }
}

/** Tolerates nodes between two states. Code: failed_precondition (any other node without figures). */
function assertWatchable(node: NodeRecord): void {
  if (!PASSING.has(node.status)) assertFigures(node);
}

function missing(reference: string): never {
  throw noNodeCalled(reference);
}

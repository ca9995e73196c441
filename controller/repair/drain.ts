/** Follows a node's drain: repair moves its copies, this says how far it is, and when it can't go on. */
import { NexusError } from '../../shared/errors.js';
import type { NodeId } from '../../shared/ids.js';
import type { RepairDeps } from './deps.js';
import type { Repair } from './repair.js';

const LOOK_MS = 200;

export interface DrainProgress {
  readonly remainingChunks: number;
  readonly remainingBytes: number;
  readonly isFinished: boolean;
}

/**
 * Resolves when no copy is left on the node. The drain itself goes on when the caller goes away.
 * Codes: failed_precondition (the other nodes can't take the rest), not_found, cancelled.
 */
export async function followDrain(
  deps: RepairDeps,
  repair: Repair,
  node: NodeId,
  signal: AbortSignal,
  tell: (progress: DrainProgress) => Promise<void>,
): Promise<void> {
  // The survey that runs now may have begun before the drain.
  const firstSurvey = repair.surveys + 2;
  repair.wake();
  let least = Infinity;
  let isStuckSince: number | undefined;
  for (;;) {
    const view = deps.nodes.find(node);
    if (view === undefined) throw new NexusError('not_found', 'the node was removed meanwhile');
    if (view.standing === 'here') throw new NexusError('cancelled', `the drain of node ${view.name} was cancelled`);
    const { chunks, bytes } = await deps.replicas.countOn(node);
    await tell({ remainingChunks: chunks, remainingBytes: bytes, isFinished: chunks === 0 });
    if (chunks === 0) return;
    const { blocked, running } = repair.status();
    const isStuck = blocked.length > 0 && running === 0 && chunks >= least && repair.surveys >= firstSurvey;
    if (!isStuck) isStuckSince = undefined;
    else if (isStuckSince === undefined) isStuckSince = repair.surveys;
    // Twice in a row: a copy that has just ended makes room for another.
    else if (repair.surveys > isStuckSince + 1) throw cannotGoOn(view.name, chunks, blocked);
    least = Math.min(least, chunks);
    await deps.clock.sleep(LOOK_MS, signal);
  }
}

const cannotGoOn = (name: string, chunks: number, why: readonly string[]): NexusError =>
  new NexusError(
    'failed_precondition',
    `${chunks} chunk(s) cannot be moved off node ${name}: ${why.join('; ')}; the node stays cordoned and the drain continues when that changes`,
    { remaining_chunks: chunks },
    { advice: { key: 'cancel-drain', node: name } },
  );

/**
 * The only way to return a node's figures as current. A node that is down or Lost has a state and no figures: its last
 * report would be taken for its present use.
 */
import type { Advice } from '../../shared/advice/advice.js';
import { NexusError } from '../../shared/errors.js';
import { hasFigures, type NodeStatus } from '../node/state.js';
import type { NodeRecord } from '../store/port/store.js';
import type { MetricsHistory } from './history.js';
import type { Sample } from './sample.js';

type Reporting = Pick<NodeRecord, 'id' | 'name' | 'status'>;

/** Undefined also if the node has not reported yet. */
export const latestFigures = (history: MetricsHistory, { id, status }: Reporting): Sample | undefined =>
  hasFigures(status) ? history.latest(id) : undefined;

/** Code: failed_precondition, with advice. */
export function assertFigures({ name, status }: Reporting): void {
  if (hasFigures(status)) return;
  const lack = status === 'Lost' ? 'its agent is silent' : 'reports nothing';
  const advice = adviceFor(status, name);
  throw new NexusError('failed_precondition', `node ${name} is ${status} and ${lack}`, {}, { advice });
}

/** Codes: failed_precondition, unavailable (it has not reported yet). */
export function expectFigures(history: MetricsHistory, node: Reporting): Sample {
  assertFigures(node);
  const sample = latestFigures(history, node);
  if (sample !== undefined) return sample;
  throw new NexusError('unavailable', `node ${node.name} has not reported yet; it does so every 5 s, try again`);
}

function adviceFor(status: NodeStatus, node: string): Advice {
  if (status === 'Stopped' || status === 'Failed') return { key: 'start-node', node };
  return status === 'Lost' ? { key: 'restart-silent-node', node } : { key: 'see-node-state' };
}

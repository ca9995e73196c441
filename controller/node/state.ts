/** A node's states, and the only legal transitions between them. */
import type { Advice } from '../../shared/advice/advice.js';
import { NexusError } from '../../shared/errors.js';

export const NODE_STATUSES = [
  'Creating',
  'Running',
  'Suspect',
  'Lost',
  'Stopping',
  'Stopped',
  'Removing',
  'Failed',
] as const;

export type NodeStatus = (typeof NODE_STATUSES)[number];

/**
 * Creating covers the first start and every later one: the container is being made and its agent has not been heard.
 * Suspect and Lost are degrees of silence of a living container; Failed: the container ended by itself, or could not
 * start.
 */
const NEXT: Readonly<Record<NodeStatus, readonly NodeStatus[]>> = {
  Creating: ['Running', 'Stopping', 'Stopped', 'Failed', 'Removing'],
  Running: ['Suspect', 'Lost', 'Stopping', 'Failed', 'Removing'],
  Suspect: ['Running', 'Lost', 'Stopping', 'Failed', 'Removing'],
  Lost: ['Running', 'Stopping', 'Failed', 'Removing'],
  Stopping: ['Stopped', 'Failed', 'Removing'],
  Stopped: ['Creating', 'Removing'],
  Failed: ['Creating', 'Stopping', 'Stopped', 'Removing'],
  Removing: [],
};

export const mayMove = (from: NodeStatus, to: NodeStatus): boolean => NEXT[from].includes(to);

/** Code: failed_precondition. */
export function assertMove(name: string, from: NodeStatus, to: NodeStatus): void {
  if (mayMove(from, to)) return;
  const isSilent = from === 'Suspect' || from === 'Lost';
  const advice: Advice[] = isSilent && to === 'Creating' ? [{ key: 'restart-node', node: name }] : [];
  const message = `node ${name} is ${from} and cannot become ${to}`;
  throw new NexusError('failed_precondition', message, { status: from }, { advice });
}

/** Whether the node should run and its start was put off until a shared cause has gone. */
export const isWaiting = ({ status, desired }: { readonly status: NodeStatus; readonly desired: string }): boolean =>
  status === 'Stopped' && desired === 'running';

/** Whether agents are expected to send heartbeats in this state. */
export const isListening = (status: NodeStatus): boolean =>
  status === 'Running' || status === 'Suspect' || status === 'Lost';

/** Whether the agent's last report shows the node's present use; unknown for a Lost node. */
export const hasFigures = (status: NodeStatus): boolean => status === 'Running' || status === 'Suspect';

/** Error for a caller who needs a node that is up. `lack`: what the node has not, e.g. ` and has no agent`. */
export function notUp(name: string, status: NodeStatus, lack = ''): NexusError {
  const problem = `node ${name} is ${status}${lack}`;
  const refusal = (message: string, ...advice: readonly Advice[]): NexusError =>
    new NexusError('failed_precondition', message, {}, { advice });
  if (status === 'Creating') return refusal(`${problem}; it is being started`, { key: 'await-start' });
  if (status === 'Stopping')
    return refusal(`${problem}; it is being stopped`, { key: 'start-stopped-node', node: name });
  if (status === 'Removing') return refusal(`${problem}; it is being removed, use another node`);
  return refusal(problem, { key: 'start-node', node: name });
}

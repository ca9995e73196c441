/** A node's volume as its agent last told it. Pure. What comes from an agent is checked: a node's root can speak for it. */
import { NexusError } from '../../../shared/errors.js';
import { VOLUME_OK, VOLUME_STATES, type VolumeCondition, type VolumeState } from '../../../shared/volume-state.js';
import type { AgentView } from '../registry.js';

const MAX_REASON_CHARACTERS = 200;

/** Agents that tell nothing do not try their volume: it is taken for well. */
export function conditionOf(agent: Pick<AgentView, 'report'> | undefined): VolumeCondition {
  const { volumeState = '', volumeReason = '' } = agent?.report ?? {};
  if (volumeState === '') return VOLUME_OK;
  const state: VolumeState = VOLUME_STATES.find((known) => known === volumeState) ?? 'failing';
  const reason = volumeReason.slice(0, MAX_REASON_CHARACTERS).replace(/[^\x20-\x7e]/g, '?');
  return { state, reason };
}

/** Whether new chunks may be planned on it. A full one has no room, which the figures say more exactly. */
export const takesChunks = (state: VolumeState): boolean => state === 'ok' || state === 'full';

/** A process that waits for a disk without an answer can't be killed: the node would be gone. Code: failed_precondition. */
export function assertMayEnd(node: string, { state }: VolumeCondition): void {
  if (state !== 'hung') return;
  throw new NexusError(
    'failed_precondition',
    `the volume of node ${node} does not answer, and a restart would wait for it; let go what holds the disk (the kernel's log may tell), then the node is well by itself`,
  );
}

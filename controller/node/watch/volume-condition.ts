/**
 * The condition of a node's volume, as its agent reported it last. Pure. Reports are checked: root in a node can forge
 * them.
 */
import { NexusError } from '../../../shared/errors.js';
import { VOLUME_OK, VOLUME_STATES, type VolumeCondition, type VolumeState } from '../../../shared/volume-state.js';
import type { AgentView } from '../registry.js';

const MAX_REASON_CHARACTERS = 200;

/** A volume counts as healthy if its agent reports nothing about it: such agents do not test it. */
export function conditionOf(agent: Pick<AgentView, 'report'> | undefined): VolumeCondition {
  const { volumeState = '', volumeReason = '' } = agent?.report ?? {};
  if (volumeState === '') return VOLUME_OK;
  const state: VolumeState = VOLUME_STATES.find((known) => known === volumeState) ?? 'failing';
  const reason = volumeReason.slice(0, MAX_REASON_CHARACTERS).replace(/[^\x20-\x7e]/g, '?');
  return { state, reason };
}

/**
 * Whether new chunks may be placed on it. A full volume is not excluded: its free room, which the figures show,
 * decides.
 */
export const takesChunks = (state: VolumeState): boolean => state === 'ok' || state === 'full';

/**
 * Rejects ending a node whose volume hangs: processes that wait for the disk can't be killed, so the node would be
 * lost. Code: failed_precondition.
 */
export function assertMayEnd(node: string, { state }: VolumeCondition): void {
  if (state !== 'hung') return;
  throw new NexusError(
    'failed_precondition',
    `the volume of node ${node} does not answer, and a restart would wait for it; remove what blocks the disk (see the kernel's log), then the node recovers by itself`,
  );
}

/** Tells from an agent's silence whether its node is well: pure, so that time can be played in tests. */
import type { NodeStatus } from '../state.js';

export interface LivenessLimits {
  readonly suspectAfterMs: number;
  readonly lostAfterMs: number;
}

/**
 * What a listening node's status should be; undefined when the silence says nothing new. One that is Lost stays so until
 * it is heard: that a new controller counts its silence from its own start makes it no better.
 */
export function verdict(
  status: NodeStatus,
  silentForMs: number,
  limits: LivenessLimits,
): 'Running' | 'Suspect' | 'Lost' | undefined {
  const due = silentForMs >= limits.lostAfterMs ? 'Lost' : silentForMs >= limits.suspectAfterMs ? 'Suspect' : 'Running';
  return due === status || (status === 'Lost' && due === 'Suspect') ? undefined : due;
}

/** A tick that comes this late means that this host, not an agent, was not running. */
export const OWN_DELAY_TOLERANCE_MS = 750;

/**
 * Milliseconds by which the controller itself was held up between two ticks. Heartbeats that arrived meanwhile may
 * still wait in a socket: they must be read before anybody is called silent.
 */
export function ownDelay(elapsedMs: number, periodMs: number): number {
  const late = elapsedMs - periodMs;
  return late > OWN_DELAY_TOLERANCE_MS ? late : 0;
}

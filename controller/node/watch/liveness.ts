/** Derives a node's health from its agent's silence. Pure, so that tests control the time. */
import { HEARTBEAT_INTERVAL_MS } from '../../../shared/limits.js';
import type { NodeStatus } from '../state.js';

export interface LivenessLimits {
  readonly suspectAfterMs: number;
  readonly lostAfterMs: number;
}

/** Where heartbeats are `intervalMs` apart: two of those more that an agent may miss come later by as much. */
export function limitsAt(intervalMs: number, limits: LivenessLimits): LivenessLimits {
  const laterMs = 2 * (intervalMs - HEARTBEAT_INTERVAL_MS);
  return { suspectAfterMs: limits.suspectAfterMs + laterMs, lostAfterMs: limits.lostAfterMs + laterMs };
}

/**
 * Returns the status that a listening node should have; undefined if it keeps its own. A Lost node never becomes
 * Suspect, although a new controller counts its silence from its own start: only a heartbeat ends Lost.
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
 * still wait in a socket, and must be read before a node counts as silent.
 */
export function ownDelay(elapsedMs: number, periodMs: number): number {
  const late = elapsedMs - periodMs;
  return late > OWN_DELAY_TOLERANCE_MS ? late : 0;
}

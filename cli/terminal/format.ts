/** Numbers for people. */
import { systemClock } from '../../shared/async/clock.js';
export { formatBytes } from '../../shared/format-bytes.js';

/** How long ago, in the largest unit that fits: 5s, 12m, 3h, 9d. */
export function formatAge(since: string, now = systemClock.now()): string {
  const seconds = Math.max(0, Math.floor((now - Date.parse(since)) / 1000));
  if (seconds < 60) return `${seconds}s`;
  if (seconds < 3600) return `${Math.floor(seconds / 60)}m`;
  if (seconds < 86_400) return `${Math.floor(seconds / 3600)}h`;
  return `${Math.floor(seconds / 86_400)}d`;
}

export const formatSeconds = (ms: number): string => `${(ms / 1000).toFixed(ms < 10_000 ? 2 : 1)} s`;

export const count = (amount: number, thing: string): string => `${amount} ${thing}${amount === 1 ? '' : 's'}`;

/** Looks at /proc to tell whether a process is the one meant and still runs. */
import { readFileSync } from 'node:fs';
import type { ProcessIdentity } from '../hosting/runtime.js';

/** The identity of a living process; undefined when there is none, or only a zombie, with this number. */
export function identify(pid: number): ProcessIdentity | undefined {
  const stat = readStat(pid);
  return stat === undefined ? undefined : { pid, startTicks: stat.startTicks };
}

/** The identity of a child of this process, which may have ended already: until it is reaped its number is its own. */
export function identifyChild(pid: number): ProcessIdentity | undefined {
  const stat = readStat(pid, true);
  return stat === undefined ? undefined : { pid, startTicks: stat.startTicks };
}

export function isAlive(identity: ProcessIdentity): boolean {
  return identity.pid > 0 && readStat(identity.pid)?.startTicks === identity.startTicks;
}

/** Reads a recorded identity; undefined if the record is truncated, by the end of a controller that was writing it. */
export function identityIn(record: string): ProcessIdentity | undefined {
  try {
    const fields = JSON.parse(record) as Partial<ProcessIdentity> | null;
    const isWhole = Number.isInteger(fields?.pid) && typeof fields?.startTicks === 'string';
    return isWhole ? (fields as ProcessIdentity) : undefined;
  } catch {
    return undefined;
  }
}

/**
 * How soon the kernel kills this process when the host is short of memory, -1000 to 1000; inherited from the parent.
 */
export const ownOomScore = (): number => Number(readFileSync('/proc/self/oom_score_adj', 'utf8'));

function readStat(pid: number, endedToo = false): { startTicks: string } | undefined {
  let text: string;
  try {
    text = readFileSync(`/proc/${pid}/stat`, 'utf8');
  } catch {
    return undefined;
  }
  // The name in parentheses may itself hold spaces and parentheses: fields count from the last one.
  const fields = text.slice(text.lastIndexOf(')') + 2).split(' ');
  const state = fields[0] ?? '';
  // A zombie has released everything, and its parent may take its time to reap it; but what shows as one is only the first
  // thread as long as there are others, which still hold files and ports.
  const isEnded = state === 'X' || (state === 'Z' && Number(fields[17]) <= 1);
  return !endedToo && isEnded ? undefined : { startTicks: fields[19] ?? '' };
}

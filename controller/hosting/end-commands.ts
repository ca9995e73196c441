/**
 * Ends commands, each in a group of its own: asks every process of a group, including those that appear meanwhile, and
 * kills those left when the time is up. Stopped processes are continued, or the signal would not reach them.
 */
import { systemClock } from '../../shared/async/clock.js';
interface Groups {
  /** Current groups, including empty ones. */
  list(): Promise<readonly string[]>;
  /** Process ids; a negative id is that of a process group. */
  processes(group: string): Promise<readonly number[]>;
  /** Returns the command line. Called before the processes are asked to end, because it may be gone afterwards. */
  describe(group: string): Promise<string>;
}

/** Whether the signal ends a program by default; sending one means the whole command. */
export const asksToEnd = (signal: NodeJS.Signals): boolean =>
  signal === 'SIGTERM' || signal === 'SIGINT' || signal === 'SIGHUP' || signal === 'SIGQUIT';

const POLL_MS = 20;
/** The kernel takes a killed process apart within milliseconds; more means an unkillable disk wait. */
const KILL_TIMEOUT_MS = 5000;

/**
 * Returns the command lines of the groups in which a process was found. Never rejects because a process can't be ended:
 * the container can.
 */
export async function endGroups(groups: Groups, graceMs: number): Promise<readonly string[]> {
  const found = new Map<string, string>();
  const asked = new Set<number>();
  const startedAt = systemClock.monotonic();
  for (;;) {
    const left: number[] = [];
    for (const group of await groups.list()) {
      const pids = await groups.processes(group);
      if (pids.length > 0 && !found.has(group)) found.set(group, await groups.describe(group));
      left.push(...pids);
    }
    const elapsedMs = systemClock.monotonic() - startedAt;
    if (left.length === 0 || elapsedMs > graceMs + KILL_TIMEOUT_MS) return [...found.values()];
    for (const pid of left) {
      if (elapsedMs >= graceMs) send(pid, 'SIGKILL');
      else if (!asked.has(pid)) for (const signal of ['SIGTERM', 'SIGCONT'] as const) send(pid, signal);
      asked.add(pid);
    }
    await systemClock.sleep(POLL_MS);
  }
}

/** Success when there is no such process. */
export function send(pid: number, signal: NodeJS.Signals): void {
  try {
    process.kill(pid, signal);
  } catch {
    // Ended by itself in between.
  }
}

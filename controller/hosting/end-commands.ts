/**
 * The end of commands, each in a group of its own: all of a group's processes are asked, also those that come meanwhile,
 * and killed when their time is up. A process that was stopped is continued, or it would not see that it was asked.
 */
interface Groups {
  /** Those that are there now, empty ones included. */
  list(): Promise<readonly string[]>;
  /** Process ids; a negative one is a process group's. */
  processes(group: string): Promise<readonly number[]>;
  /** Its command line; asked before its processes are, because afterwards it may be gone. */
  describe(group: string): Promise<string>;
}

/** Whether a program ends by it unless it has said otherwise; whoever sends one means all of the command. */
export const asksToEnd = (signal: NodeJS.Signals): boolean =>
  signal === 'SIGTERM' || signal === 'SIGINT' || signal === 'SIGHUP' || signal === 'SIGQUIT';

const POLL_MS = 20;
/** The kernel takes a killed process apart within milliseconds; more means an unkillable disk wait. */
const KILL_TIMEOUT_MS = 5000;

/** Returns the command lines of the groups in which a process was found. Never rejects for a process that can't be ended: the container can. */
export async function endGroups(groups: Groups, graceMs: number): Promise<readonly string[]> {
  const found = new Map<string, string>();
  const asked = new Set<number>();
  const startedAt = performance.now();
  for (;;) {
    const left: number[] = [];
    for (const group of await groups.list()) {
      const pids = await groups.processes(group);
      if (pids.length > 0 && !found.has(group)) found.set(group, await groups.describe(group));
      left.push(...pids);
    }
    const elapsedMs = performance.now() - startedAt;
    if (left.length === 0 || elapsedMs > graceMs + KILL_TIMEOUT_MS) return [...found.values()];
    for (const pid of left) {
      if (elapsedMs >= graceMs) send(pid, 'SIGKILL');
      else if (!asked.has(pid)) for (const signal of ['SIGTERM', 'SIGCONT'] as const) send(pid, signal);
      asked.add(pid);
    }
    await new Promise((resolve) => setTimeout(resolve, POLL_MS));
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

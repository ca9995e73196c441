/** Measuring and printing. */
import { readFileSync } from 'node:fs';

/** Ticks of /proc: Linux shows them as hundredths of a second, whatever the kernel counts in. */
const TICKS_PER_SECOND = 100;

export const median = (values: readonly number[]): number => {
  const sorted = [...values].sort((a, b) => a - b);
  return sorted[Math.floor(sorted.length / 2)] ?? Number.NaN;
};

export async function timed(work: () => Promise<unknown>): Promise<number> {
  const start = performance.now();
  await work();
  return performance.now() - start;
}

/** One line: what, median, range, and against what. */
export function printTimes(
  what: string,
  timesMs: readonly number[],
  baseline?: { name: string; timesMs: readonly number[] },
): void {
  const range = `${Math.min(...timesMs).toFixed(0)} to ${Math.max(...timesMs).toFixed(0)}`;
  const ratio =
    baseline === undefined
      ? ''
      : `, ${(median(timesMs) / median(baseline.timesMs)).toFixed(2)} x ${baseline.name} (${median(baseline.timesMs).toFixed(0)} ms)`;
  print(`${what}: median ${median(timesMs).toFixed(0)} ms of ${timesMs.length} runs (${range})${ratio}`);
}

export function print(line: string): void {
  process.stdout.write(`${line}\n`);
}

/** Processor time that a process has used so far. */
export function cpuSeconds(pid: number): number {
  const fields = readFileSync(`/proc/${pid}/stat`, 'utf8')
    .replace(/^.*\) /, '')
    .split(' ');
  return (Number(fields[11]) + Number(fields[12])) / TICKS_PER_SECOND;
}

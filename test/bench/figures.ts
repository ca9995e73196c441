/** Measuring and printing. */
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

/**
 * Prometheus' text format for figures that another process counted: prom-client does its own counting, and accepts no
 * finished histogram.
 */
export type Labels = Readonly<Record<string, string>>;

export interface Sample {
  readonly labels: Labels;
  readonly value: number;
}

export interface Bucket {
  /** Upper bound, seconds; the last one is infinite. */
  readonly le: number;
  /** Cumulative: all samples up to the bound. */
  readonly count: bigint;
}

export interface HistogramSample {
  readonly labels: Labels;
  readonly buckets: readonly Bucket[];
  readonly sum: number;
}

/** A family without samples keeps its name and help, so that both can be seen before anything has happened. */
export function familyText(name: string, type: 'gauge' | 'counter', help: string, samples: readonly Sample[]): string {
  return heading(name, type, help) + samples.map(({ labels, value }) => line(name, labels, value)).join('');
}

export function histogramText(name: string, help: string, samples: readonly HistogramSample[]): string {
  const lines = samples.flatMap(({ labels, buckets, sum }) => [
    ...buckets.map(({ le, count }) => line(`${name}_bucket`, { ...labels, le: numberText(le) }, Number(count))),
    line(`${name}_sum`, labels, sum),
    line(`${name}_count`, labels, Number(buckets.at(-1)?.count ?? 0n)),
  ]);
  return heading(name, 'histogram', help) + lines.join('');
}

const heading = (name: string, type: string, help: string): string =>
  `# HELP ${name} ${help}\n# TYPE ${name} ${type}\n`;

function line(name: string, labels: Labels, value: number): string {
  const pairs = Object.entries(labels).map(([label, text]) => `${label}="${escaped(text)}"`);
  return `${name}${pairs.length === 0 ? '' : `{${pairs.join(',')}}`} ${numberText(value)}\n`;
}

const numberText = (value: number): string => (value === Number.POSITIVE_INFINITY ? '+Inf' : String(value));

const escaped = (text: string): string => text.replace(/[\\"\n]/g, (found) => (found === '\n' ? '\\n' : `\\${found}`));

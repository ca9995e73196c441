/** One report of an agent, with the rates computed from it and the previous one. Pure. */
import type { AgentReport } from '../../shared/gen/nexus/v1/agent.js';
import {
  figuresOf,
  NODE_FIELDS,
  type NodeFigures,
  type NodeRate,
  type NodeRates,
} from '../../shared/metrics/node-fields.js';

export type Sample = { readonly atMs: number } & NodeFigures & NodeRates;

const RATES = NODE_FIELDS.flatMap((field) => ('rate' in field ? [{ counter: field.report, ...field.rate }] : []));

/** The order in which a series stores them. */
export const SAMPLE_FIELDS: readonly (keyof Sample)[] = [
  'atMs',
  ...NODE_FIELDS.map(({ report }) => report),
  ...RATES.map(({ message }) => message),
];

/** `report` is newer than `before`. */
export function sampleOf(before: Sample | undefined, report: AgentReport): Sample {
  const atMs = Number(report.atMs);
  const figures = figuresOf(report);
  const rates: Partial<Record<NodeRate, number>> = {};
  if (before !== undefined) {
    const seconds = (atMs - before.atMs) / 1000;
    for (const { message, counter, per } of RATES)
      rates[message] = increase(before[counter], figures[counter]) / seconds / per;
  }
  return { atMs, ...figures, ...(rates as NodeRates) };
}

/** As in Prometheus: a counter that decreased was reset to 0, so its whole value is new. */
const increase = (before: number, after: number): number => (after >= before ? after - before : after);

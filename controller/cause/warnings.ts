/**
 * Every kind of warning that `nexus status` can show. Add a new kind here first: the test of advice has a case for
 * each, which checks that the commands named in its text exist. The bad-day run follows this advice.
 */
import type { Advice, Message, Notice } from '../../shared/advice/advice.js';
import type { SharedCause } from './shared-causes.js';

export const WARNING_KINDS = [
  'shared-cause',
  'database-lost',
  'log-unwritten',
  'node-misbehaves',
  'mail',
  'gateway-down',
  'chunks-unreadable',
  'repair-blocked',
  'host-disk',
  'runtime-caveat',
  'node-failed',
  'node-lost',
  'node-suspect',
  'volume-bad',
  'volume-full',
  'inodes-full',
  'memory-full',
  'no-place',
  'spares-missing',
] as const;

export type WarningKind = (typeof WARNING_KINDS)[number];

export interface Warning extends Notice {
  readonly kind: WarningKind;
}

export const warn = (kind: WarningKind, problem: Message, ...advice: readonly Advice[]): Warning =>
  typeof problem === 'string'
    ? { kind, message: problem, advice }
    : { kind, message: problem.message, advice: [...problem.advice, ...advice] };

/** Number of names shown in a warning. */
const MOST_NAMED = 3;

export const someOf = (names: readonly string[]): string =>
  names.slice(0, MOST_NAMED).join(', ') + (names.length > MOST_NAMED ? ` and ${names.length - MOST_NAMED} more` : '');

/**
 * Warnings that only repeat, for each node, file and spare, that something shared is away. Hidden then: their advice would not
 * help.
 */
const EXPLAINED: readonly WarningKind[] = [
  'node-lost',
  'node-suspect',
  'no-place',
  'chunks-unreadable',
  'repair-blocked',
  'spares-missing',
];

/** Replaces the effects of a shared cause by the cause itself. */
export function withCause(cause: SharedCause | undefined, warnings: readonly Warning[]): readonly Warning[] {
  if (cause === undefined) return warnings;
  const text = `${cause.problem} since ${new Date(cause.since).toISOString()}: ${cause.remedy}`;
  return [warn('shared-cause', text), ...warnings.filter(({ kind }) => !EXPLAINED.includes(kind))];
}

/**
 * A program of the system that failed, as an error for people: what could not be done, the reason where its words are of
 * a known kind, and what to do. The words themselves go to the log as the cause, and cleaned and cut to the details.
 */
import type { Advice } from './advice/advice.js';
import { NexusError, type ErrorCode } from './errors.js';
import { plainText } from './plain-text.js';

/** Facts about a command that has failed. */
interface ToolEnd {
  readonly program: string;
  /** Its verb, e.g. `start` of runc; empty where it has none. */
  readonly verb?: string;
  readonly exitCode: number | null;
  /** Its own words; the last lines count. */
  readonly said: string;
}

const MOST_WORDS = 300;
const MOST_LINES = 3;

const SEE_DOCTOR: Advice = { key: 'see-doctor' };

/** Errors of the kernel as programs print them, with what they mean here and what to do. The first match counts. */
const REASONS: readonly (readonly [pattern: RegExp, code: ErrorCode, reason: string, advice?: Advice])[] = [
  [/no space left on device|disk quota exceeded/i, 'resource_exhausted', 'the disk is full; make room, then try again'],
  [
    /cannot allocate memory|out of memory/i,
    'resource_exhausted',
    'this machine has no memory left; end something or use less, then try again',
  ],
  [
    /too many open files|resource temporarily unavailable/i,
    'resource_exhausted',
    'this machine has reached its limit of open files or processes',
    SEE_DOCTOR,
  ],
  [
    /read-only file system/i,
    'failed_precondition',
    'the file system there is read-only; see the kernel’s log',
    SEE_DOCTOR,
  ],
  [/input\/output error/i, 'unavailable', 'the disk reports errors; see the kernel’s log'],
  [
    /unknown device type|operation not supported|function not implemented|protocol not supported|no such device\b/i,
    'failed_precondition',
    'this machine’s kernel does not have it, or it is gone',
    SEE_DOCTOR,
  ],
  [/operation not permitted|permission denied/i, 'failed_precondition', 'the system does not allow it', SEE_DOCTOR],
  [
    /address already in use|file exists|device or resource busy/i,
    'failed_precondition',
    'something else on this machine uses it already',
    SEE_DOCTOR,
  ],
];

/** `failure`: what could not be done, e.g. `the bridge nx-a cannot be made`. `hint` is for reasons that are not known. */
export function toolFailure(failure: string, end: ToolEnd, hint = HINT): NexusError {
  const { program, exitCode } = end;
  const [, code, reason, advice = []] = REASONS.find(([pattern]) => pattern.test(end.said)) ?? [
    undefined,
    'internal' as const,
    `${program} ${exitCode === null ? 'was killed' : `ended with exit code ${exitCode}`}; ${hint}`,
    SEE_DOCTOR,
  ];
  const words = end.said.trim().split('\n').slice(-MOST_LINES).join('; ');
  const detail = plainText(words, MOST_WORDS);
  const details = { program, detail, ...(exitCode === null ? {} : { exit_code: exitCode }) };
  const verb = end.verb === undefined || end.verb === '' ? '' : ` ${end.verb}`;
  const cause = new Error(
    `${program}${verb} (exit ${exitCode ?? 'by a signal'}): ${words === '' ? 'no output' : words}`,
  );
  return new NexusError(code, `${failure}: ${reason}`, details, { cause, advice });
}

const HINT = 'its output is in the controller’s log; try again';

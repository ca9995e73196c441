/**
 * Resource limits that the controller needs, whatever the shell or service manager that starts it has set. The command
 * line raises them first: with too few open files not even the controller's modules can be loaded.
 */
import { readFileSync } from 'node:fs';
import { NexusError } from '../errors.js';
import { tryCommand } from '../exec.js';

interface Limit {
  /** Name in /proc/self/limits. */
  readonly title: string;
  /** Option of prlimit(1) without its dashes; `shell` is that of ulimit. */
  readonly option: string;
  readonly shell: string;
  readonly least: number;
  readonly what: string;
}

/**
 * Every limit that would make the controller or its children fail in the middle of their work. Open files: each
 * command, stream and sandbox needs some, and nodes get the same limit.
 */
const LIMITS: readonly Limit[] = [
  { title: 'Max open files', option: 'nofile', shell: '-n', least: 1024, what: 'open files' },
  { title: 'Max file size', option: 'fsize', shell: '-f', least: Infinity, what: 'the size of files' },
  { title: 'Max cpu time', option: 'cpu', shell: '-t', least: Infinity, what: 'processor time' },
  { title: 'Max address space', option: 'as', shell: '-v', least: Infinity, what: 'address space' },
  { title: 'Max data size', option: 'data', shell: '-d', least: Infinity, what: 'data' },
  { title: 'Max processes', option: 'nproc', shell: '-u', least: 512, what: 'processes' },
];

interface Range {
  readonly soft: number;
  readonly hard: number;
}

const current = (): string => readFileSync('/proc/self/limits', 'utf8');

function rangeOf(limits: string, title: string): Range {
  const [, soft = '', hard = ''] = new RegExp(`^${title}\\s+(\\S+)\\s+(\\S+)`, 'm').exec(limits) ?? [];
  const value = (text: string): number => (text === 'unlimited' ? Infinity : Number(text));
  return { soft: value(soft), hard: value(hard) };
}

/** Returns prlimit(1) arguments that raise soft limits to the hard ones, and both to `least`; exported for the test. */
export function limitsToRaise(limits: string): string[] {
  return LIMITS.flatMap(({ title, option, least }) => {
    const { soft, hard } = rangeOf(limits, title);
    const wanted = Math.max(hard, least);
    return soft >= wanted ? [] : [`--${option}=${text(wanted)}:${text(wanted)}`];
  });
}

const text = (value: number): string => (value === Infinity ? 'unlimited' : String(value));

/**
 * Raises the limits of this process and its children. Code: failed_precondition, naming each limit that is too low and
 * can't be raised.
 */
export async function raiseLimits(): Promise<void> {
  // One by one: the kernel may refuse one (CAP_SYS_RESOURCE is needed above the hard limit) and accept others.
  for (const argument of limitsToRaise(current()))
    await tryCommand('prlimit', [`--pid=${process.pid}`, argument]).catch(() => undefined);
  const low = LIMITS.filter(({ title, least }) => rangeOf(current(), title).soft < least);
  if (low.length === 0) return;
  const found = low.map(({ title, what }) => `the limit of ${what} is ${text(rangeOf(current(), title).soft)}`);
  const advice = low.map(({ shell, least }) => `ulimit ${shell} ${text(least)}`);
  throw new NexusError(
    'failed_precondition',
    `${found.join(', ')} and can't be raised from here (that takes CAP_SYS_RESOURCE); raise it where the controller is started: ${advice.join('; ')}`,
  );
}

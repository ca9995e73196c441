/**
 * The only place that starts child processes: argument arrays, never a shell. `tryCommand` and `runCommand` run a
 * program to its end, with a time limit and bounded output; `startChild` is for processes that live on, whose owner
 * bounds them.
 */
import { spawn, spawnSync, type ChildProcess } from 'node:child_process';
import { constants } from 'node:os';
import { onAbort, once } from './async/wait.js';
import { after } from './async/timers.js';
import { NexusError } from './errors.js';
import { toolFailure } from './tool-failure.js';

export interface CommandOptions {
  /** Written to standard input, which is empty otherwise. */
  readonly input?: string;
  /** Ends the command with SIGKILL after so many ms. Default 30 000. */
  readonly timeoutMs?: number;
  readonly signal?: AbortSignal;
  readonly cwd?: string;
  readonly env?: NodeJS.ProcessEnv;
  /** Open files that the command gets as descriptors 3, 4, ... */
  readonly descriptors?: readonly number[];
  /** Bytes kept of each output stream; what is beyond is dropped. Default 1 MiB. */
  readonly maxOutputBytes?: number;
}

export interface CommandResult {
  /** 128 + signal number when a signal ended the command. */
  readonly exitCode: number;
  readonly stdout: string;
  readonly stderr: string;
}

const DEFAULT_TIMEOUT_MS = 30_000;
const DEFAULT_MAX_OUTPUT_BYTES = 1024 * 1024;

/** Runs to the end and reports, whatever the exit code. Codes: not_found (no such program), deadline_exceeded, cancelled. */
export async function tryCommand(
  program: string,
  args: readonly string[],
  options: CommandOptions = {},
): Promise<CommandResult> {
  const timeoutMs = options.timeoutMs ?? DEFAULT_TIMEOUT_MS;
  const child = spawn(program, args, {
    stdio: [options.input === undefined ? 'ignore' : 'pipe', 'pipe', 'pipe', ...(options.descriptors ?? [])],
    cwd: options.cwd,
    env: options.env,
  });
  const stdout = collect(child.stdout, options.maxOutputBytes ?? DEFAULT_MAX_OUTPUT_BYTES);
  const stderr = collect(child.stderr, options.maxOutputBytes ?? DEFAULT_MAX_OUTPUT_BYTES);
  if (options.input !== undefined) {
    // A program may exit without reading its input; its exit code says what matters.
    child.stdin?.on('error', () => undefined);
    child.stdin?.end(options.input);
  }
  let failure: NexusError | undefined;
  const stop = (error: NexusError): void => {
    failure ??= error;
    child.kill('SIGKILL');
  };
  using _timer = after(timeoutMs, () => {
    stop(
      new NexusError(
        'deadline_exceeded',
        `${program} did not finish within ${timeoutMs} ms; is this machine overloaded, or a disk hanging?`,
      ),
    );
  });
  using _gone = onAbort(options.signal, () => stop(new NexusError('cancelled', `${program} was cancelled`)));
  const exitCode = await exitOf(child).catch((error: unknown) => {
    throw notStarted(program, error as NodeJS.ErrnoException);
  });
  if (failure !== undefined) throw failure;
  return { exitCode, stdout: stdout(), stderr: stderr() };
}

export type { ChildProcess };

/** Starts a process whose input, output and end are its caller's. A program that is missing shows as 'error' event. */
export const startChild = spawn;

/** The exit code, once the child has ended and its output is read. Rejects if it could not be started. */
export async function exitOf(child: ChildProcess): Promise<number> {
  const [code, signal] = await once(child, 'close');
  return exitCodeOf(code as number | null, signal as NodeJS.Signals | null);
}

/**
 * Output of a program that answers at once and acts on our standard input, for a place that cannot wait; undefined if it
 * fails.
 */
export function outputNow(program: string, args: readonly string[]): string | undefined {
  const { status, stdout } = spawnSync(program, args, {
    stdio: ['inherit', 'pipe', 'ignore'],
    encoding: 'utf8',
    timeout: DEFAULT_TIMEOUT_MS,
  });
  return status === 0 ? stdout : undefined;
}

/** A program that could not even be started. Codes: not_found (no such program), internal. */
export function notStarted(program: string, error: NodeJS.ErrnoException): NexusError {
  const code = error.code === 'ENOENT' ? 'not_found' : 'internal';
  const why = code === 'not_found' ? 'it is not installed, or not in PATH' : (error.code ?? 'the system refuses');
  const message = `the program ${program} cannot be run: ${why}`;
  return new NexusError(code, message, { program }, { cause: error, advice: { key: 'see-doctor' } });
}

/** For errors of a command that must go well. */
interface RequiredCommandOptions extends CommandOptions {
  /** The thing that could not be done then, for people: `the bridge nx-a cannot be made`. */
  readonly failure: string;
  /** Advice for a failure whose reason is not known. */
  readonly hint?: string;
}

/** As `tryCommand`, but a non-zero exit is an error; see `toolFailure` for its code and where the tool's words are. */
export async function runCommand(
  program: string,
  args: readonly string[],
  options: RequiredCommandOptions = { failure: `${program} failed` },
): Promise<CommandResult> {
  const result = await tryCommand(program, args, options);
  if (result.exitCode === 0) return result;
  const said = result.stderr.trim() || result.stdout.trim();
  const verb = args.find((argument) => /^[a-z]+$/.test(argument));
  throw toolFailure(options.failure, { program, verb, exitCode: result.exitCode, said }, options.hint);
}

/** A child's end as one number, the way shells count it. */
export function exitCodeOf(code: number | null, signal: NodeJS.Signals | null): number {
  if (code !== null) return code;
  return signal === null ? 1 : 128 + signalNumber(signal);
}

/** 0: unknown. */
export const signalNumber = (signal: string): number =>
  (constants.signals as Readonly<Record<string, number>>)[signal] ?? 0;

/** Signals that a command may get from its caller; those of job control are the terminal's. */
const PASSED_ON: readonly string[] = [
  ...['SIGHUP', 'SIGINT', 'SIGQUIT', 'SIGTERM', 'SIGKILL', 'SIGALRM', 'SIGPIPE', 'SIGUSR1', 'SIGUSR2', 'SIGWINCH'],
  ...['SIGABRT', 'SIGBUS', 'SIGILL', 'SIGSEGV', 'SIGSYS'],
];

/** Whether `SIG<name>` is a signal that can be passed on to a command. */
export const isSignalName = (name: string): boolean => PASSED_ON.includes(`SIG${name}`);

function collect(stream: NodeJS.ReadableStream | null, maxBytes: number): () => string {
  const parts: Buffer[] = [];
  let bytes = 0;
  stream?.on('data', (part: Buffer) => {
    if (bytes < maxBytes) parts.push(part.subarray(0, maxBytes - bytes));
    bytes += part.length;
  });
  return () => Buffer.concat(parts).toString('utf8');
}

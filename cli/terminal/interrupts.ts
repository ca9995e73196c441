/**
 * Turns SIGINT, SIGTERM, SIGHUP and SIGQUIT into one AbortSignal: the first requests an orderly end, the second in the
 * same command ends the process at once. Either way the exit code is the one that shells give to a process ended by
 * that signal. A command that passes signals on (exec) takes the first one over; the second ends it all the same.
 */
import { NexusError } from '../../shared/errors.js';
import { exitCodeOf, signalNumber } from '../../shared/exec.js';

const SIGNALS = ['SIGINT', 'SIGTERM', 'SIGHUP', 'SIGQUIT'] as const;
export type Interrupt = (typeof SIGNALS)[number];

/**
 * Set by the launcher: the mask of ignored signals that it was started with, as in /proc. nohup and `&` in scripts rely
 * on it.
 */
const IGNORED_SIGNALS_VARIABLE = 'NEXUS_IGNORED_SIGNALS';

export class Interrupts implements Disposable {
  readonly #controller = new AbortController();
  #takenOverBy: ((signal: Interrupt) => void) | undefined;
  #exitCode: number | undefined;
  #received = 0;
  readonly #listeners = new Map<Interrupt, () => void>();

  constructor(env: NodeJS.ProcessEnv = {}) {
    const ignored = BigInt(`0x${/^[0-9a-f]{1,16}$/.exec(env[IGNORED_SIGNALS_VARIABLE] ?? '')?.[0] ?? '0'}`);
    for (const signal of SIGNALS) {
      // SIGTERM always ends the command, whatever started it.
      const isIgnored = signal !== 'SIGTERM' && ((ignored >> BigInt(signalNumber(signal) - 1)) & 1n) === 1n;
      const listener = isIgnored ? (): void => undefined : (): void => this.receive(signal);
      this.#listeners.set(signal, listener);
      process.on(signal, listener);
    }
  }

  get signal(): AbortSignal {
    return this.#controller.signal;
  }

  /** 128 + the signal's number, e.g. 130 after SIGINT; undefined: the command was not interrupted. */
  get exitCode(): number | undefined {
    return this.#exitCode;
  }

  /** From now on `handler` receives the first signal, which then aborts nothing. */
  takeOver(handler: (signal: Interrupt) => void): void {
    this.#takenOverBy = handler;
  }

  /** Also called where a terminal in raw mode delivers Ctrl-C as a key. */
  receive(signal: Interrupt): void {
    this.#received += 1;
    if (this.#received > 1) endBy(signal);
    else if (this.#takenOverBy !== undefined) this.#takenOverBy(signal);
    else {
      this.#exitCode = exitCodeOf(null, signal);
      this.#controller.abort(new NexusError('cancelled', `interrupted by ${signal}`));
    }
  }

  /** Ends the command as SIGPIPE ends other programs, after the reader of its output has gone. */
  abandon(): void {
    this.#exitCode ??= exitCodeOf(null, 'SIGPIPE');
    const cause = Object.assign(new Error('broken pipe'), { code: 'EPIPE' });
    this.#controller.abort(new NexusError('cancelled', 'nothing reads the output any more', {}, { cause }));
  }

  [Symbol.dispose](): void {
    for (const [signal, listener] of this.#listeners) process.off(signal, listener);
  }
}

/** Ends the process by the signal itself: process.exit would wait for a thread that is stuck in a system call. */
function endBy(signal: Interrupt): void {
  // Exit listeners restore the terminal.
  process.emit('exit', exitCodeOf(null, signal));
  process.removeAllListeners(signal);
  process.kill(process.pid, signal);
}

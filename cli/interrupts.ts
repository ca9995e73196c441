/**
 * SIGINT, SIGTERM and SIGHUP as one AbortSignal: the first asks for an orderly end, the second of the same command
 * ends the process at once. Either way the exit code is the one that shells give to a process ended by that signal.
 * A command that hands signals on (exec) takes them over.
 */
import { NexusError } from '../shared/errors.js';
import { exitCodeOf } from '../shared/exec.js';

const SIGNALS = ['SIGINT', 'SIGTERM', 'SIGHUP'] as const;
export type Interrupt = (typeof SIGNALS)[number];

export class Interrupts implements Disposable {
  readonly #controller = new AbortController();
  #takenOverBy: ((signal: Interrupt) => void) | undefined;
  #exitCode: number | undefined;
  readonly #listener = (signal: NodeJS.Signals): void => {
    this.receive(signal as Interrupt);
  };

  constructor() {
    for (const signal of SIGNALS) process.on(signal, this.#listener);
  }

  get signal(): AbortSignal {
    return this.#controller.signal;
  }

  /** 129 after SIGHUP, 130 after SIGINT, 143 after SIGTERM; undefined: the command was not interrupted. */
  get exitCode(): number | undefined {
    return this.#exitCode;
  }

  /** From now on `handler` gets every signal and nothing is aborted by them. */
  takeOver(handler: (signal: Interrupt) => void): void {
    this.#takenOverBy = handler;
  }

  /** Also where a terminal in raw mode gives Ctrl-C as a key. */
  receive(signal: Interrupt): void {
    if (this.#takenOverBy !== undefined) {
      this.#takenOverBy(signal);
    } else if (this.#controller.signal.aborted) {
      process.exit(exitCodeOf(null, signal));
    } else {
      this.#exitCode = exitCodeOf(null, signal);
      this.#controller.abort(new NexusError('cancelled', `interrupted by ${signal}`));
    }
  }

  [Symbol.dispose](): void {
    for (const signal of SIGNALS) process.off(signal, this.#listener);
  }
}

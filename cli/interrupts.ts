/**
 * SIGINT, SIGTERM and SIGHUP as one AbortSignal: the first asks for an orderly end, the second of the same command
 * ends the process at once. A command that hands signals on (exec) takes them over.
 */
import { NexusError } from '../shared/errors.js';

const SIGNALS = ['SIGINT', 'SIGTERM', 'SIGHUP'] as const;
export type Interrupt = (typeof SIGNALS)[number];

const EXIT_CODE_OF_INTERRUPT = 130;

export class Interrupts implements Disposable {
  readonly #controller = new AbortController();
  #takenOverBy: ((signal: Interrupt) => void) | undefined;
  readonly #listener = (signal: NodeJS.Signals): void => {
    this.#receive(signal as Interrupt);
  };

  constructor() {
    for (const signal of SIGNALS) process.on(signal, this.#listener);
  }

  get signal(): AbortSignal {
    return this.#controller.signal;
  }

  /** From now on `handler` gets every signal and nothing is aborted by them. */
  takeOver(handler: (signal: Interrupt) => void): void {
    this.#takenOverBy = handler;
  }

  #receive(signal: Interrupt): void {
    if (this.#takenOverBy !== undefined) {
      this.#takenOverBy(signal);
    } else if (this.#controller.signal.aborted) {
      process.exit(EXIT_CODE_OF_INTERRUPT);
    } else {
      this.#controller.abort(new NexusError('cancelled', `interrupted by ${signal}`));
    }
  }

  [Symbol.dispose](): void {
    for (const signal of SIGNALS) process.off(signal, this.#listener);
  }
}

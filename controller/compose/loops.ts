/** The controller's periodic work as one table: the work, its period, and what suspends it. */
import { systemClock } from '../../shared/async/clock.js';
import { createLoop, type Loop } from '../host/loop.js';
import type { Starting } from './starting.js';

export interface LoopRow {
  readonly name: string;
  /** A function where the period changes. */
  readonly periodMs: number | (() => number);
  tick(signal: AbortSignal): Promise<void>;
}

/** Loops by name. Created before anything runs; stopped when the start is unwound. */
export class Loops {
  readonly #loops = new Map<string, Loop>();

  constructor(private readonly starting: Starting) {}

  add(rows: readonly LoopRow[]): void {
    const { log } = this.starting;
    for (const { name, periodMs, tick } of rows) {
      const loop = createLoop(name, periodMs, tick, { clock: systemClock, log });
      this.starting.defer(`stop the loop: ${name}`, () => loop.close());
      this.#loops.set(name, loop);
    }
  }

  /** Runs the loop as soon as its current run, if any, is over. Does nothing before the loop was added. */
  kick(name: string): void {
    this.#loops.get(name)?.kick();
  }

  start(): void {
    for (const { start } of this.#loops.values()) start();
  }
}

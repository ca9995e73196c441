/** Nodes with their latest figures, for `nexus top` and `nexus status`. */
import { systemClock } from '../../shared/async/clock.js';
import { toNexusError, type NexusError } from '../../shared/errors.js';
import type { Controller } from '../connect/connection.js';
import type { TopRow } from './metrics-text.js';

const REFRESH_MS = 1000;

/**
 * Fetches them again and again in the background, so that keys work while an answer is awaited. If the controller does
 * not answer, the last figures remain; `ageMs` is their age.
 */
export class LiveRows implements Disposable {
  /** Undefined until the first answer. */
  rows: readonly TopRow[] | undefined;
  /** Time of the last answer; initially that of the start. */
  answeredAt = new Date(systemClock.now());
  /** Any failure except a late answer; polling then stops. A connection that stays silent is given up as elsewhere. */
  failure: NexusError | undefined;
  readonly #end = new AbortController();

  /** `onChange` is called after each answer and on a failure; it must not throw. */
  constructor(
    private readonly controller: Controller,
    private readonly onChange: () => void,
  ) {
    void this.#ask();
  }

  /** Time since the last answer, or since the start. */
  get ageMs(): number {
    return systemClock.now() - this.answeredAt.getTime();
  }

  async #ask(): Promise<void> {
    while (!this.#end.signal.aborted && this.failure === undefined) {
      await this.#askOnce();
      this.onChange();
      await systemClock.sleep(REFRESH_MS, this.#end.signal).catch(() => undefined);
    }
  }

  async #askOnce(): Promise<void> {
    try {
      this.rows = await rowsOf(this.controller);
      this.answeredAt = new Date(systemClock.now());
    } catch (thrown) {
      const error = toNexusError(thrown);
      if (error.code !== 'deadline_exceeded') this.failure = error;
    }
  }

  [Symbol.dispose](): void {
    this.#end.abort();
  }
}

/** Fetches them once. */
export async function rowsOf(controller: Controller): Promise<TopRow[]> {
  const { node, metrics } = controller;
  const [{ nodes }, figures] = await Promise.all([
    controller.call(node, node.listNodes, {}),
    controller.call(metrics, metrics.listNodeMetrics, {}),
  ]);
  const byId = new Map(figures.metrics.map((one) => [one.nodeId, one]));
  return nodes.map((one) => ({ node: one, metrics: byId.get(one.id) }));
}

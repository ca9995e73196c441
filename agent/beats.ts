/**
 * When an agent at rest wakes. A thousand of them share a machine, and a wake costs more than what is done in it: so
 * there is one for the heartbeat, the report and the look at the volume, at a moment that many agents share.
 */
import { inStep } from '../shared/async/clock.js';
import { NexusError } from '../shared/errors.js';
import {
  HEARTBEAT_GRID_MS,
  HEARTBEAT_INTERVAL_MS,
  REPORT_INTERVAL_MS,
  SLOWEST_HEARTBEAT_MS,
} from '../shared/limits.js';

/** Between looks at the volume: the longest delay until a change of its mount is known, where there are few nodes. */
const LOOK_INTERVAL_MS = 2000;

export interface BeatActs {
  /** `reports`: with new figures. */
  beat(reports: boolean): void;
  look(): void;
}

export class Beats implements Disposable {
  #intervalMs = HEARTBEAT_INTERVAL_MS;
  #timer: Disposable | undefined;

  constructor(
    private readonly nodeId: string,
    private readonly acts: BeatActs,
  ) {}

  get intervalMs(): number {
    return this.#intervalMs;
  }

  start(): void {
    this.#timer?.[Symbol.dispose]();
    const { phaseMs, reports, looks } = scheduleOf(this.nodeId, this.#intervalMs);
    this.#timer = inStep(this.#intervalMs, phaseMs, (count) => {
      if (looks(count)) this.acts.look();
      this.acts.beat(reports(count));
    });
  }

  /** Beats at once, so that the controller knows of the new interval before the next silence. Code: invalid_argument. */
  keepTo(ms: number): void {
    if (ms < HEARTBEAT_INTERVAL_MS || ms > SLOWEST_HEARTBEAT_MS || ms % HEARTBEAT_GRID_MS !== 0) {
      throw new NexusError('invalid_argument', `heartbeats can't be ${ms} ms apart`);
    }
    if (ms === this.#intervalMs) return;
    this.#intervalMs = ms;
    this.start();
    this.acts.beat(false);
  }

  [Symbol.dispose](): void {
    this.#timer?.[Symbol.dispose]();
  }
}

interface Schedule {
  /** Within each interval. */
  readonly phaseMs: number;
  /** Whether the beat of this number reports, or is a moment to look at the volume. */
  readonly reports: (count: number) => boolean;
  readonly looks: (count: number) => boolean;
}

/** Spreads agents over the moments of an interval, and those of one moment over the beats that report. Pure. */
export function scheduleOf(nodeId: string, intervalMs: number): Schedule {
  const place = parseInt(nodeId.slice(-4), 16);
  const phases = intervalMs / HEARTBEAT_GRID_MS;
  const beatsPerReport = Math.max(1, Math.round(REPORT_INTERVAL_MS / intervalMs));
  const beatsPerLook = Math.max(1, Math.round(LOOK_INTERVAL_MS / intervalMs));
  const turn = Math.floor(place / phases) % beatsPerReport;
  return {
    phaseMs: (place % phases) * HEARTBEAT_GRID_MS,
    reports: (count) => count % beatsPerReport === turn,
    looks: (count) => count % beatsPerLook === 0,
  };
}

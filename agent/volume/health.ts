/**
 * Whether the volume can still serve: looked at on a period, and at once when something failed on it. One look at a time,
 * in the thread pool, so that neither transfers nor heartbeats wait for a disk that hangs: what takes too long is itself
 * the finding.
 */
import { endsWithin } from '../../shared/async/wait.js';
import type { Clock } from '../../shared/async/clock.js';
import { VOLUME_OK, type VolumeCondition } from '../../shared/volume-state.js';
import type { AgentLog } from '../log.js';
import { errnoOf, isDamage } from './errors.js';
import type { Volume, VolumeUsage } from './port.js';
import { examine, type Prober } from './probe.js';

/** With a write and its flush, where no chunk was written meanwhile. */
const WRITE_MS = 10_000;
/** Or as many heartbeats, where they are further apart: a thousand nodes share one disk. */
const WRITE_BEATS = 6;
/** A disk that is only busy has answered by then. */
const HUNG_MS = 15_000;
/** A failure on the volume is a reason to probe it, but not once for each of a thousand chunks. */
const SUSPICION_MS = 500;
/** For figures: the last known ones serve until the volume answers. */
const USAGE_MS = 2000;

const NO_FIGURES: VolumeUsage = { totalBytes: 0, usedBytes: 0, freeBytes: 0, totalInodes: 0, freeInodes: 0 };

export interface HealthOptions {
  readonly volume: Volume;
  readonly prober: Prober;
  readonly clock: Clock;
  readonly log: AgentLog;
  /** The condition is another one now. */
  readonly onChange: () => void;
}

export class VolumeHealth {
  #condition: VolumeCondition = VOLUME_OK;
  #usage = NO_FIGURES;
  #asked: Promise<VolumeUsage> | undefined;
  #lookingSince: number | undefined;
  #writtenAt = -Infinity;
  #suspectedAt = -Infinity;
  /** Something failed while it was looked at: what is found may be older. */
  #isDue = false;
  /** Found by the kernel; it does not pass before the file system has been checked, which takes a new start. */
  #damage: VolumeCondition | undefined;

  constructor(private readonly options: HealthOptions) {}

  get condition(): VolumeCondition {
    return this.#condition;
  }

  /** Looks at it for the first time. Resolves with what was found, or when the volume does not answer in time. */
  async start(): Promise<void> {
    await endsWithin(USAGE_MS, this.#look());
  }

  /** Something was made durable on the volume: that is worth a probe. */
  wrote(): void {
    if (this.#condition.state === 'ok') this.#writtenAt = this.options.clock.monotonic();
  }

  /** A call failed, on whatever; where the volume may be why, it is looked at. */
  suspect(thrown: unknown): void {
    const errno = errnoOf(thrown);
    if (errno === undefined) return;
    if (isDamage(thrown)) {
      // The probe's own file may lie in a part that is whole.
      this.#damage ??= { state: 'failing', reason: `its file system is damaged (${errno})` };
      this.#become(this.#damage);
      return;
    }
    const now = this.options.clock.monotonic();
    if (now - this.#suspectedAt < SUSPICION_MS) return;
    this.#suspectedAt = now;
    this.#writtenAt = -Infinity;
    if (this.#lookingSince === undefined) void this.#look();
    else this.#isDue = true;
  }

  /** The figures now, or the last ones where the volume does not tell them in time. Never rejects. */
  async usage(): Promise<VolumeUsage> {
    const now = this.#ask().catch((error: unknown) => {
      this.suspect(error);
    });
    await endsWithin(USAGE_MS, now);
    return this.#usage;
  }

  /** Asks once for all who want to know at this moment; a volume that does not answer holds one thread only. */
  #ask(): Promise<VolumeUsage> {
    this.#asked ??= this.options.volume.usage().then((usage) => (this.#usage = usage));
    const end = (): void => {
      this.#asked = undefined;
    };
    this.#asked.then(end, end);
    return this.#asked;
  }

  /** Called on a period, from then on. `beatMs`: between heartbeats. */
  tick(beatMs = 0): void {
    if (this.#lookingSince === undefined) {
      void this.#look(Math.max(WRITE_MS, WRITE_BEATS * beatMs));
      return;
    }
    const silentMs = this.options.clock.monotonic() - this.#lookingSince;
    if (silentMs >= HUNG_MS) this.#become({ state: 'hung', reason: 'it does not answer' });
  }

  async #look(writeMs = WRITE_MS): Promise<void> {
    const { prober, clock } = this.options;
    this.#lookingSince = clock.monotonic();
    // A volume that was found bad is probed in full each time: it may be well again.
    const writes = this.#condition.state !== 'ok' || clock.monotonic() - this.#writtenAt >= writeMs;
    try {
      const found = await examine(prober, () => this.#ask(), writes);
      if (found !== undefined) this.#become(found);
      if (writes && found?.state === 'ok') this.#writtenAt = clock.monotonic();
    } finally {
      this.#lookingSince = undefined;
    }
    if (!this.#isDue) return;
    this.#isDue = false;
    this.#writtenAt = -Infinity;
    await this.#look();
  }

  #become(found: VolumeCondition): void {
    const condition = this.#damage ?? found;
    if (condition.state === this.#condition.state) return;
    this.#condition = condition;
    const { state, reason } = condition;
    if (state === 'ok') this.options.log.info({ state }, 'the volume works again');
    else this.options.log.warn({ state, reason }, `the volume is ${state}: ${reason}`);
    this.options.onChange();
  }
}

/**
 * The template in use, and those before it that still have sandboxes. Forks of one template share the layout of its memory
 * and the seed of its hashes, so what one invocation finds out would help against the next: a template is replaced after
 * some time and some forks, in the background, and ends with its last sandbox. One that does not answer any more is ended
 * at once with all that is left of it: whoever waits is told, and the next one comes from a fresh template.
 */
import type { Clock } from '../../../shared/async/clock.js';
import { NexusError, toNexusError } from '../../../shared/errors.js';
import type { Logger } from '../../../shared/log.js';
import type { TemplateLauncher } from './template-launcher.js';

export interface TemplateLife {
  readonly forks: number;
  readonly ms: number;
}

const PING_PERIOD_MS = 1000;

interface Generation {
  readonly launcher: TemplateLauncher;
  readonly startedAt: number;
  forks: number;
  living: number;
}

export class Generations {
  #launching: Promise<Generation> | undefined;
  #current: Generation | undefined;
  #renewing: Promise<void> | undefined;
  #isStopped = false;
  readonly #all = new Set<Generation>();

  constructor(
    private readonly start: () => Promise<TemplateLauncher>,
    private readonly life: TemplateLife,
    private readonly clock: Clock,
    private readonly log: Logger,
  ) {}

  /**
   * The template to fork from; `release` is to be called when the sandbox has ended. The first call starts one, and the
   * first after it has ended; whoever comes meanwhile waits for the same.
   */
  async acquire(): Promise<{ readonly launcher: TemplateLauncher; readonly release: () => void }> {
    const generation = await this.#generation();
    generation.forks += 1;
    generation.living += 1;
    this.#renewIfWorn(generation);
    return {
      launcher: generation.launcher,
      release: () => {
        generation.living -= 1;
        this.#endIfDone(generation);
      },
    };
  }

  /** One that is being started is waited for: nobody else would end it. */
  async destroy(): Promise<void> {
    this.#isStopped = true;
    await this.#launching?.catch(() => undefined);
    await this.#renewing;
    await Promise.all([...this.#all].map(({ launcher }) => launcher.destroy()));
  }

  #generation(): Promise<Generation> {
    if (this.#isStopped) return Promise.reject(new NexusError('unavailable', 'sandboxes are being ended'));
    if (this.#launching !== undefined && this.#current?.launcher.isAlive !== false) return this.#launching;
    this.#current = undefined;
    const launching = this.#launch();
    this.#launching = launching;
    launching.then(
      (generation) => {
        this.#current = generation;
      },
      () => {
        if (this.#launching === launching) this.#launching = undefined;
      },
    );
    return launching;
  }

  async #launch(): Promise<Generation> {
    const launcher = await this.start();
    const generation = { launcher, startedAt: this.clock.monotonic(), forks: 0, living: 0 };
    this.#all.add(generation);
    void launcher.ended.then(() => this.#all.delete(generation));
    void this.#watch(launcher);
    return generation;
  }

  async #watch(launcher: TemplateLauncher): Promise<void> {
    const over = new AbortController();
    void launcher.ended.then(() => {
      over.abort();
    });
    for (;;) {
      const answers = await launcher.answers();
      if (!launcher.isAlive) return;
      if (!answers) {
        this.log.warn({ pid: launcher.pid }, 'the sandbox template does not answer and is replaced');
        await launcher.destroy();
      }
      await this.clock.sleep(PING_PERIOD_MS, over.signal).catch(() => undefined);
    }
  }

  /** Sandboxes go on being made from the old one until the new one is up. */
  #renewIfWorn(generation: Generation): void {
    const age = this.clock.monotonic() - generation.startedAt;
    const isWorn = generation.forks >= this.life.forks || age >= this.life.ms;
    if (!isWorn || this.#renewing !== undefined || generation !== this.#current) return;
    this.#renewing = this.#launch()
      .then(
        (next) => {
          this.#current = next;
          this.#launching = Promise.resolve(next);
          this.#endIfDone(generation);
        },
        (error: unknown) => {
          this.log.warn(
            { code: toNexusError(error).code },
            'the sandbox template could not be replaced; the old one stays in use',
          );
        },
      )
      .finally(() => {
        this.#renewing = undefined;
      });
  }

  #endIfDone(generation: Generation): void {
    if (generation !== this.#current && generation.living === 0) void generation.launcher.destroy();
  }
}

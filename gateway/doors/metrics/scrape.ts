/**
 * Answers a scrape with the gateway's own series and the controller's, which are fetched on demand. However many
 * scrapes run, at most one request goes to the controller at a time; after its deadline the scrape succeeds without it.
 */
import { systemClock } from '../../../shared/async/clock.js';
import type { GetClusterMetricsResponse } from '../../../shared/gen/nexus/v1/metrics.js';
import { toNexusError } from '../../../shared/errors.js';
import type { Logger } from '../../../shared/log.js';
import { LogSampler } from '../../../shared/log-sampler.js';
import type { Controller } from '../../controller/controller.js';
import { clusterText, logText } from './cluster.js';
import type { HttpMetrics } from '../../http/metrics.js';

/** Well below Prometheus' own timeout of ten seconds. */
const CONTROLLER_DEADLINE_MS = 2000;
/** Scope of a call that is made for no particular client. */
const SCOPE = { token: undefined, address: '', requestId: 'scrape', signal: new AbortController().signal };

/** The format of Prometheus' HTTP service discovery. */
export interface TargetGroup {
  readonly targets: readonly string[];
  readonly labels: Readonly<Record<string, string>>;
}

export class Scrape {
  /** While the controller is away, each scrape would log a line. */
  readonly #failures = new LogSampler(() => systemClock.monotonic());
  #asking: Promise<GetClusterMetricsResponse> | undefined;

  constructor(
    private readonly controller: Pick<Controller, 'session'>,
    private readonly http: HttpMetrics,
    private readonly log: Logger,
    private readonly ownLog: { readonly dropped: number },
  ) {}

  get contentType(): string {
    return this.http.registry.contentType;
  }

  /** Never fails because of the controller. */
  async text(): Promise<string> {
    const cluster = await this.#figures().catch((error: unknown) => {
      if (this.#failures.admit('') !== undefined)
        this.log.warn({ said: toNexusError(error).message }, 'scraped without the controller');
      return undefined;
    });
    return `${clusterText(cluster)}${logText(cluster, this.ownLog.dropped)}${await this.http.registry.metrics()}`;
  }

  /**
   * Returns the addresses of listening agents. Code: unavailable, on which Prometheus keeps the targets that it has.
   */
  async targets(): Promise<readonly TargetGroup[]> {
    const { nodes, controller } = await this.#figures();
    return nodes
      .filter(({ agentAddress }) => agentAddress !== '')
      .map(({ agentAddress }) => ({ targets: [agentAddress], labels: { cluster: controller?.instance ?? '' } }));
  }

  #figures(): Promise<GetClusterMetricsResponse> {
    this.#asking ??= this.#ask().finally(() => {
      this.#asking = undefined;
    });
    return this.#asking;
  }

  async #ask(): Promise<GetClusterMetricsResponse> {
    const session = this.controller.session(SCOPE);
    return await session.call(session.metrics.getClusterMetrics, {}, CONTROLLER_DEADLINE_MS);
  }
}

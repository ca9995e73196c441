/** The gateway's own figures for Prometheus. Labels are bounded: patterns of routes, known methods, statuses. */
import { collectDefaultMetrics, Counter, Gauge, Histogram, Registry } from 'prom-client';

const METHODS: readonly string[] = ['GET', 'HEAD', 'POST', 'PUT', 'DELETE', 'OPTIONS'];
const BUCKETS_SECONDS = [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 60];

/** Gauges that call themselves totals, which are counters' names; each has a twin by type. */
const MISNAMED = ['nodejs_active_handles_total', 'nodejs_active_requests_total', 'nodejs_active_resources_total'];

export class HttpMetrics {
  readonly registry = new Registry();
  readonly #requests: Counter<'method' | 'route' | 'status'>;
  readonly #seconds: Histogram<'method' | 'route'>;
  readonly #running: Gauge;

  constructor(connections: { readonly closed: number }) {
    const registers = [this.registry];
    new Counter({
      name: 'nexus_gateway_connections_closed_total',
      help: 'Connections that were closed because a client, or all together, had as many as may be.',
      registers,
      collect() {
        this.reset();
        this.inc(connections.closed);
      },
    });
    collectDefaultMetrics({ register: this.registry });
    for (const name of MISNAMED) this.registry.removeSingleMetric(name);
    this.#requests = new Counter({
      name: 'nexus_gateway_http_requests_total',
      help: 'Requests that were answered, by route and status; 499: the client went away.',
      labelNames: ['method', 'route', 'status'],
      registers,
    });
    this.#seconds = new Histogram({
      name: 'nexus_gateway_http_request_duration_seconds',
      help: 'Time from the headers of a request to the end of its answer.',
      labelNames: ['method', 'route'],
      buckets: BUCKETS_SECONDS,
      registers,
    });
    this.#running = new Gauge({
      name: 'nexus_gateway_http_requests_running',
      help: 'Requests that are being answered.',
      registers,
    });
  }

  begin(): void {
    this.#running.inc();
  }

  end(labels: { readonly method: string; readonly route: string; readonly status: number }, seconds: number): void {
    const method = METHODS.includes(labels.method) ? labels.method : 'other';
    this.#running.dec();
    this.#requests.inc({ method, route: labels.route, status: String(labels.status) });
    this.#seconds.observe({ method, route: labels.route }, seconds);
  }
}

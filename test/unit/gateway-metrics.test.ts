/** /metrics and its list of targets: what is told, with the controller and without it, and to whom. */
import { expect } from 'chai';
import { Controller } from '../../gateway/controller/controller.js';
import { HttpMetrics } from '../../gateway/http/metrics.js';
import { readersOf, metricsRoutes } from '../../gateway/doors/metrics/routes.js';
import { Scrape } from '../../gateway/doors/metrics/scrape.js';
import { loadSettings } from '../../shared/config/settings.js';
import { GetClusterMetricsResponse } from '../../shared/gen/nexus/v1/metrics.js';
import { createLogger } from '../../shared/log.js';
import { codeOf } from '../support/codes.js';
import { answer, FakeController } from '../support/fake-controller.js';

const log = createLogger('test', 'silent');
const http = new HttpMetrics({ closed: 0 });

const FIGURES = {
  controller: { version: '1.2.3', instance: 'default', runtime: 'runc', startedAtSeconds: 1000, cpuSeconds: 1.5 },
  nodes: [
    {
      name: 'a',
      status: 'Running',
      schedulable: true,
      agentAddress: '10.0.42.2:7400',
      rejectedMessages: 6n,
      metrics: { at: '1970-01-01T00:00:10Z', cpuSeconds: 2.5, volumeFree: 7n },
    },
    { name: 'b', status: 'Stopped' },
  ],
  copies: { ready: 3n },
  upkeep: { scrubFinds: 1n },
  lambda: {
    invocations: { exit: 2n },
    latency: [
      { le: 0.1, count: 1n },
      { le: Number.POSITIVE_INFINITY, count: 2n },
    ],
    latencySumSeconds: 0.5,
  },
  calls: [{ method: 'NodeService/GetNode', calls: { ok: 4n, not_found: 1n }, latency: [{ le: Infinity, count: 5n }] }],
};

describe('a scrape of the gateway', () => {
  let asked: number;
  let fake: FakeController;
  let controller: Controller;
  let scrape: Scrape;

  before(async () => {
    fake = await FakeController.start({
      getClusterMetrics: answer(() => {
        asked += 1;
        return GetClusterMetricsResponse.fromPartial(FIGURES);
      }),
    });
    controller = new Controller(fake.socket);
    scrape = new Scrape(controller, http, log, { dropped: 3 });
  });
  beforeEach(() => {
    asked = 0;
  });
  after(async () => {
    controller.close();
    await fake[Symbol.asyncDispose]();
  });

  it('tells what the controller has counted', async () => {
    const lines = (await scrape.text()).split('\n');
    expect(lines).to.include.members([
      'nexus_up 1',
      'nexus_build_info{cluster="default",version="1.2.3",runtime="runc"} 1',
      'nexus_nodes{state="Running"} 1',
      'nexus_nodes{state="Lost"} 0',
      'nexus_node_state{node="a",state="Running"} 1',
      'nexus_node_state{node="b",state="Running"} 0',
      'nexus_node_schedulable{node="b"} 0',
      'nexus_node_rejected_messages_total{node="a"} 6',
      'nexus_node_rejected_messages_total{node="b"} 0',
      'nexus_node_report_timestamp_seconds{node="a"} 10',
      'nexus_node_cpu_seconds_total{node="a"} 2.5',
      'nexus_storage_copies{state="ready"} 3',
      'nexus_storage_copies{state="corrupt"} 0',
      'nexus_scrub_finds_total 1',
      'nexus_lambda_invocations_total{reason="exit"} 2',
      'nexus_lambda_duration_seconds_bucket{le="0.1"} 1',
      'nexus_lambda_duration_seconds_bucket{le="+Inf"} 2',
      'nexus_lambda_duration_seconds_sum 0.5',
      'nexus_lambda_duration_seconds_count 2',
      'nexus_grpc_calls_total{method="NodeService/GetNode",code="not_found"} 1',
      'nexus_grpc_call_duration_seconds_count{method="NodeService/GetNode"} 5',
    ]);
    expect(lines.filter((line) => line.startsWith('nexus_node_cpu_seconds_total{node="b"'))).to.deep.equal([]);
    expect(lines.some((line) => line.startsWith('process_cpu_seconds_total '))).to.equal(true);
    const names = lines.filter((line) => line.startsWith('# TYPE ')).map((line) => line.split(' ')[2]);
    expect(new Set(names).size, 'a family is there twice').to.equal(names.length);
  });

  it('asks the controller once for all that come at the same time', async () => {
    await Promise.all(Array.from({ length: 20 }, () => scrape.text()));
    expect(asked).to.equal(1);
    await scrape.text();
    expect(asked).to.equal(2);
  });

  it('lists the agents that listen as targets', async () => {
    expect(await scrape.targets()).to.deep.equal([{ targets: ['10.0.42.2:7400'], labels: { cluster: 'default' } }]);
  });

  it('goes well without the controller, and says so', async () => {
    const nobody = new Controller('/nonexistent/gateway.sock');
    try {
      const alone = new Scrape(nobody, http, log, { dropped: 3 });
      const text = await alone.text();
      expect(text).to.match(/^nexus_up 0$/m);
      expect(text).to.match(/^process_cpu_seconds_total /m);
      expect(text).not.to.match(/^nexus_nodes/m);
      expect(await codeOf(() => alone.targets())).to.equal('unavailable');
    } finally {
      nobody.close();
    }
  });
});

describe('who may read the figures', () => {
  it('is everybody, unless the setting names some', () => {
    expect(readersOf(undefined)('192.0.2.1')).to.equal(true);
    const some = readersOf('127.0.0.1,10.0.0.0/8,2001:db8::/32');
    for (const address of ['127.0.0.1', '10.255.0.1', '2001:db8::1']) expect(some(address), address).to.equal(true);
    for (const address of ['127.0.0.2', '11.0.0.1', '::1', '2001:db9::1', ''])
      expect(some(address), address).to.equal(false);
  });

  it('is asked before each page', async () => {
    const scrape = { text: () => 'figures', targets: () => [] } as unknown as Scrape;
    const routes = metricsRoutes(scrape, readersOf('10.0.0.0/8'));
    expect(routes).to.have.length(2);
    for (const { path, handle } of routes) {
      const from = (address: string) => () => handle({ koa: { state: { address } } } as never);
      expect(await codeOf(from('10.1.1.1')), path).to.equal('accepted');
      expect(await codeOf(from('192.0.2.1')), path).to.equal('permission_denied');
    }
  });

  it('is refused as a setting when it is no address', async () => {
    const given = (value: string) => () =>
      Promise.resolve(loadSettings({ flags: {}, file: undefined, env: { NEXUS_GATEWAY_METRICS_FROM: value } }));
    for (const wrong of ['10.0.0.0/33', '10.0.0', '1.2.3.4/', '1.2.3.4/8/8', '::/129', '/8', '127.0.0.1, ::1'])
      expect(await codeOf(given(wrong)), wrong).to.equal('invalid_argument');
    expect(await codeOf(given('127.0.0.1,10.0.0.0/8,::1'))).to.equal('accepted');
  });
});

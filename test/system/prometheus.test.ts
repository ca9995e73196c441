/** A real Prometheus with the files of deploy/: what it scrapes, what the alerts and the dashboard find in it. */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect } from 'chai';
import { MIB } from '../../shared/limits.js';
import { eventually, PROJECT } from '../support/cluster.js';
import { GatewayClient } from '../support/gateway.js';
import { Prometheus, PROMETHEUS_FOLDER, promtool, whyNoPrometheus } from '../support/prometheus.js';
import { describeWithCluster, skipWithout } from '../support/system.js';

interface Dashboard {
  readonly panels: readonly { readonly title: string; readonly targets?: readonly { readonly expr: string }[] }[];
}

const NODES = ['a', 'b', 'c'];
/** With samples each second, a rate needs no more. */
const RATE_INTERVAL = '20s';

/** Every query of the dashboard, as Grafana would send it with all nodes chosen. */
function dashboardQueries(): readonly (readonly [title: string, expression: string])[] {
  const path = join(PROJECT, 'deploy', 'grafana', 'nexus.json');
  const { panels } = JSON.parse(readFileSync(path, 'utf8')) as Dashboard;
  return panels.flatMap(({ title, targets = [] }) =>
    targets.map(
      ({ expr }) => [title, expr.replaceAll('$__rate_interval', RATE_INTERVAL).replaceAll('$node', '.*')] as const,
    ),
  );
}

const metricNames = (expression: string): string[] =>
  expression.replaceAll(/"[^"]*"/g, '').match(/\b(?:nexus_[a-z_]+|process_[a-z_]+|up)\b/g) ?? [];

describe('the files for Prometheus', () => {
  before(function () {
    skipWithout(this, whyNoPrometheus());
  });

  for (const args of [
    ['check', 'config', 'prometheus.yml'],
    ['check', 'rules', 'alerts.yml'],
    ['test', 'rules', 'alerts.test.yml'],
  ]) {
    it(`are accepted by promtool ${args.slice(0, 2).join(' ')}`, () => {
      const { code, said } = promtool([...args.slice(0, 2), join(PROMETHEUS_FOLDER, args[2] ?? '')]);
      expect(code, said).to.equal(0);
    });
  }
});

describeWithCluster('Prometheus', { gateway: true }, (cluster) => {
  let gateway: GatewayClient;
  let prometheus: Prometheus | undefined;
  let token: string;

  before(async function () {
    skipWithout(this, whyNoPrometheus());
    this.timeout(300_000);
    for (const name of NODES) await cluster().ok('node', 'create', name, '--storage', '128M', '--mem', '512M');
    gateway = await GatewayClient.of(cluster());
    token = await gateway.register('watcher');
    prometheus = await Prometheus.start(new URL(gateway.url).host);
  });
  after(async () => {
    await prometheus?.[Symbol.asyncDispose]();
  });

  const query = (expression: string) => prometheus?.query(expression) ?? Promise.resolve([]);
  const number = async (expression: string): Promise<number> => Number((await query(expression))[0]?.value[1] ?? NaN);

  it('is given nothing by gateway or agents that promtool objects to', async () => {
    const { targets } = (
      (await (await fetch(`${gateway.url}/metrics/targets`)).json()) as { targets: string[] }[]
    )[0] ?? { targets: [] };
    for (const url of [`${gateway.url}/metrics`, `http://${targets[0] ?? ''}/metrics`]) {
      const response = await fetch(url);
      const { code, said } = promtool(['check', 'metrics'], await response.text());
      expect(code, `${url}: ${said}`).to.equal(0);
    }
  });

  it('finds the gateway, and through it every agent', async () => {
    const targets = await eventually(
      () => prometheus?.targets() ?? Promise.resolve([]),
      (found) => found.length === 1 + NODES.length && found.every(({ health }) => health === 'up'),
    );
    expect(targets.filter(({ labels }) => labels.job === 'nexus-agents')).to.have.length(NODES.length);
    const nodes = await query('nexus_agent_volume_size_bytes{job="nexus-agents",cluster!=""}');
    expect(nodes.map(({ metric }) => metric['node']).sort()).to.deep.equal(NODES);
  });

  it('has an answer to every query of the dashboard while there is something to see', async function () {
    this.timeout(300_000);
    const work = async (): Promise<void> => {
      const upload = await gateway.call('POST', `/api/files/upload?name=f${Date.now()}`, {
        token,
        body: Buffer.alloc(MIB, 7),
      });
      await gateway.call('GET', `/api/files/${String(upload.json['id'])}/download`, { token });
      await gateway.call('POST', '/api/lambda/run', { token, json: { code: 'print(1)', runtime: 'python3' } });
      await cluster().ok('node', 'ls');
    };
    let empty: string[] = [];
    const look = async (): Promise<string[]> => {
      await work();
      const all = await Promise.all(
        dashboardQueries().map(async ([title, expression]) => {
          const isThere = (await query(expression)).some(({ value }) => Number.isFinite(Number(value[1])));
          return isThere ? [] : [`${title}: ${expression}`];
        }),
      );
      empty = all.flat();
      return empty;
    };
    await eventually(look, (found) => found.length === 0);
    expect(dashboardQueries().length).to.be.greaterThan(30);
  });

  it('knows every metric that an alert or the dashboard names, and evaluates all alerts', async () => {
    const rules = await eventually(
      () => prometheus?.alertRules() ?? Promise.resolve([]),
      (found) => found.length > 0 && found.every(({ health }) => health === 'ok'),
    );
    const expressions = [...rules.map((rule) => rule.query), ...dashboardQueries().map(([, expression]) => expression)];
    const names = new Set(expressions.flatMap(metricNames));
    expect(names.size).to.be.greaterThan(30);
    for (const name of names) expect(await query(`count({__name__="${name}"})`), name).to.have.length(1);
  });

  it('counts what happens: files, copies, invocations, refused calls', async () => {
    await cluster().runWith(
      { input: Buffer.alloc(2 * MIB) },
      'file',
      'upload',
      '-',
      '--name',
      'two',
      '--replicas',
      '2',
    );
    const { invocations } = await cluster().json<{ invocations: Record<string, number> }>('lambda', 'stats');
    const { storage } = await cluster().json<{ storage: { files: number; bytes: number } }>('status');
    await eventually(
      () => number('nexus_storage_files'),
      (seen) => seen === storage.files,
    );
    expect(await number('nexus_storage_file_bytes')).to.equal(storage.bytes);
    expect(await number('nexus_storage_copies{state="ready"}')).to.equal(storage.files + 1);
    await eventually(
      () => number('nexus_lambda_invocations_total{reason="exit"}'),
      (seen) => seen === invocations['exit'],
    );
    await cluster().run('node', 'inspect', 'nobody');
    await eventually(
      () => number('nexus_grpc_calls_total{method="NodeService/GetNode",code="not_found"}'),
      (seen) => seen >= 1,
    );
  });

  it('sees a node fail, raises the alert, and loses the series of one that is removed', async function () {
    this.timeout(180_000);
    const { pid } = await cluster().json<{ pid: number }>('node', 'inspect', 'c');
    process.kill(pid, 'SIGKILL');
    await eventually(
      () => number('nexus_node_state{node="c",state="Failed"}'),
      (seen) => seen === 1,
    );
    await eventually(
      () => query('ALERTS{alertname="NexusNodeDown",node="c",alertstate="pending"}'),
      (found) => found.length === 1,
    );
    expect(await query('nexus_node_memory_usage_bytes{node="c"}')).to.deep.equal([]);
    await cluster().ok('node', 'rm', 'c', '--force');
    await eventually(
      () => query('{node="c",job="nexus"}'),
      (found) => found.length === 0,
    );
    await eventually(
      () => prometheus?.targets() ?? Promise.resolve([]),
      (found) => found.filter(({ labels }) => labels.job === 'nexus-agents').length === 2,
    );
  });

  it('is told that the controller hangs, within the time of a scrape', async () => {
    process.kill(cluster().controllerPid, 'SIGSTOP');
    try {
      const response = await fetch(`${gateway.url}/metrics`);
      expect(response.status).to.equal(200);
      expect(await response.text())
        .to.match(/^nexus_up 0$/m)
        .and.match(/^nexus_gateway_http_requests_total/m);
    } finally {
      process.kill(cluster().controllerPid, 'SIGCONT');
    }
    await eventually(
      () => number('nexus_up'),
      (seen) => seen === 1,
    );
  });
});

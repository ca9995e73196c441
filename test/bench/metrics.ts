/**
 * What watching costs: a scrape of the gateway's /metrics, and the controller's processor time while a hundred nodes that
 * do nothing beat and report. The baseline is the same with one node.
 */
import { MIB, REPORT_INTERVAL_MS } from '../../shared/limits.js';
import { eventually, TestCluster } from '../support/cluster.js';
import { GatewayClient } from '../support/gateway.js';
import { connectTo, createNode } from './controller.js';
import { cpuSeconds, median, print, printTimes, timed } from './figures.js';

const NODES = 100;
const SCRAPES = 30;
const REST_MS = 12 * REPORT_INTERVAL_MS;

export async function benchMetrics(): Promise<void> {
  const cluster = await TestCluster.start({ gateway: true, env: { NEXUS_LAMBDA_POOL_MIN: '0' } });
  try {
    const controller = await connectTo(cluster);
    const { url } = await GatewayClient.of(cluster);
    const create = (name: string) => createNode(controller, name, 64, 64 * MIB);
    await create('crowd-0');
    const one = await measure(cluster, url, 1);
    await Promise.all(Array.from({ length: NODES - 1 }, (_, index) => create(`crowd-${index + 1}`)));
    const all = await measure(cluster, url, NODES);
    printTimes(`scrape of /metrics with ${NODES} nodes, ${all.kilobytes.toFixed(0)} kB`, all.timesMs, {
      name: 'with one node',
      timesMs: one.timesMs,
    });
    print(
      `the slowest of them: ${Math.max(...all.timesMs).toFixed(0)} ms; /healthz: ${median(all.baselineMs).toFixed(1)} ms`,
    );
    print(
      `controller at rest for ${REST_MS / 1000} s: ${all.cpuPercent.toFixed(2)} % of a core with ${NODES} nodes, ${one.cpuPercent.toFixed(2)} % with one`,
    );
    await controller.close();
  } finally {
    for (const line of await cluster.dispose()) print(`LEFT BEHIND: ${line}`);
  }
}

async function measure(cluster: TestCluster, url: string, nodes: number) {
  const scrape = async (): Promise<string> => (await fetch(`${url}/metrics`)).text();
  const reported = (text: string): number => (text.match(/^nexus_node_report_timestamp_seconds\{/gm) ?? []).length;
  const text = await eventually(scrape, (seen) => reported(seen) === nodes, 60_000);
  // What starting the nodes has left to do is no rest.
  await new Promise((resolve) => setTimeout(resolve, 2 * REPORT_INTERVAL_MS));
  const before = cpuSeconds(cluster.controllerPid);
  await new Promise((resolve) => setTimeout(resolve, REST_MS));
  const cpuPercent = ((cpuSeconds(cluster.controllerPid) - before) / (REST_MS / 1000)) * 100;
  const timesMs: number[] = [];
  const baselineMs: number[] = [];
  for (let index = 0; index < SCRAPES; index += 1) {
    timesMs.push(await timed(scrape));
    baselineMs.push(await timed(async () => (await fetch(`${url}/healthz`)).text()));
  }
  return { timesMs, baselineMs, cpuPercent, kilobytes: Buffer.byteLength(text) / 1000 };
}

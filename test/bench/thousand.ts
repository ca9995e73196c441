/**
 * A thousand real nodes on this machine, from the first to the last. The baseline is one node alone, made as each of them
 * is. NEXUS_BENCH_NODES says how many where a machine has no memory for all: each takes 20 MB.
 */
import { MIB, REPORT_INTERVAL_MS } from '../../shared/limits.js';
import { TestCluster } from '../support/cluster.js';
import { GatewayClient } from '../support/gateway.js';
import { liveThrough } from '../support/many-nodes.js';
import { connectTo, createNode } from './controller.js';
import { cpuSeconds, median, print, timed } from './figures.js';

const NODES = Number(process.env['NEXUS_BENCH_NODES'] ?? 1000);
/** A part of the network that RFC 2544 keeps for measurements, with as many addresses as a bridge has ports. */
const SUBNET = '198.18.0.0/22';
const REST_MS = 12 * REPORT_INTERVAL_MS;
const SCRAPES = 5;

export async function benchThousand(): Promise<void> {
  const env = { NEXUS_LAMBDA_POOL_MIN: '0', NEXUS_SUBNET: SUBNET };
  const cluster = await TestCluster.start({ gateway: true, env });
  try {
    const controller = await connectTo(cluster);
    const alone: number[] = [];
    for (let run = 0; run < 5; run += 1) {
      alone.push(await timed(() => createNode(controller, 'alone', 64, 64 * MIB)));
      await controller.call(controller.node, controller.node.removeNode, { node: 'alone', force: true });
    }
    await controller.close();
    print(`one node alone: ${median(alone).toFixed(0)} ms`);
    const { url } = await GatewayClient.of(cluster);
    const shape = { nodes: NODES, spreadOver: Math.floor(NODES * 0.3), killed: Math.floor(NODES * 0.1) };
    const tell = (step: string, ms: number): void =>
      print(`${step}: ${(ms / 1000).toFixed(2)} s, ${(ms / median(alone)).toFixed(1)} x one node alone`);
    await liveThrough(cluster, shape, tell, async () => {
      const scrapes: number[] = [];
      for (let run = 0; run < SCRAPES; run += 1)
        scrapes.push(await timed(async () => (await fetch(`${url}/metrics`)).text()));
      print(`scrape of /metrics: median ${median(scrapes).toFixed(0)} ms`);
      await new Promise((resolve) => setTimeout(resolve, 2 * REPORT_INTERVAL_MS));
      const before = cpuSeconds(cluster.controllerPid);
      await new Promise((resolve) => setTimeout(resolve, REST_MS));
      const percent = ((cpuSeconds(cluster.controllerPid) - before) / (REST_MS / 1000)) * 100;
      print(`controller at rest for ${REST_MS / 1000} s: ${percent.toFixed(1)} % of a core`);
    });
  } finally {
    for (const line of await cluster.dispose()) print(`LEFT BEHIND: ${line}`);
  }
}

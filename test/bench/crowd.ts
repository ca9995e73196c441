/**
 * A hundred nodes at once, against as many bare containers that the agent's Node starts in, as many at a time as the controller
 * starts: the time until all are Running, and what each agent's process costs.
 */
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { Limit } from '../../shared/async/turns.js';
import { runCommand } from '../../shared/exec.js';
import { MIB } from '../../shared/limits.js';
import { PROJECT, TestCluster } from '../support/cluster.js';
import { connectTo, createNode } from './controller.js';
import { median, print, printTimes, timed } from './figures.js';
import { bareBundle } from './node.js';
import { agentOf } from './transfer.js';

const NODES = 100;
/** As CONCURRENT_STARTS of the controller. */
const AT_ONCE = 4;

export async function benchCrowd(): Promise<void> {
  const cluster = await TestCluster.start();
  try {
    const controller = await connectTo(cluster);
    const single = [await timed(() => createNode(controller, 'warm-up', 64, 64 * MIB))];
    const bare = await timed(() => bareNodes(cluster));
    let pids: number[] = [];
    const all = await timed(async () => {
      pids = await Promise.all(
        Array.from({ length: NODES }, (_, index) => createNode(controller, `crowd-${index}`, 64, 64 * MIB)),
      );
    });
    printTimes(`${NODES} nodes at once`, [all], { name: 'one node alone', timesMs: single });
    printTimes(`${NODES} nodes at once`, [all], { name: "runc and the start of the agent's Node", timesMs: [bare] });
    // At rest: past the first report and the collection of what starting left.
    await new Promise((resolve) => setTimeout(resolve, 20_000));
    const memory = pids.map((pid) => privateMb(agentOf(pid)));
    print(
      `private memory of an agent at rest: median ${median(memory).toFixed(1)} MB (${Math.min(...memory).toFixed(1)} to ${Math.max(...memory).toFixed(1)})`,
    );
    print(`controller resident: ${residentMb(cluster.controllerPid).toFixed(0)} MB with ${NODES + 1} nodes`);
    const removal = await timed(() =>
      Promise.all(
        Array.from({ length: NODES }, (_, index) =>
          controller.call(
            controller.node,
            controller.node.removeNode,
            { node: `crowd-${index}`, force: false },
            120_000,
          ),
        ),
      ),
    );
    printTimes(`removal of ${NODES} nodes`, [removal]);
    await controller.close();
  } finally {
    for (const line of await cluster.dispose()) print(`LEFT BEHIND: ${line}`);
  }
}

/** Containers with the agent's Node that has nothing to do, at a place that the image has. */
async function bareNodes(cluster: TestCluster): Promise<void> {
  const node = ['/mnt/lib/loader', '--library-path', '/mnt/lib', '/mnt/bin/node', '-e', '0'];
  const { bundle, state } = await bareBundle(cluster, node);
  const config = JSON.parse(readFileSync(join(bundle, 'config.json'), 'utf8')) as { mounts: object[]; linux: object };
  const source = join(PROJECT, 'dist', 'runtime');
  config.mounts.push({ destination: '/mnt', type: 'bind', source, options: ['bind', 'ro'] });
  const limit = new Limit(AT_ONCE);
  const run = async (name: string): Promise<void> => {
    const own = `${bundle}-${name}`;
    mkdirSync(own);
    const linux = { ...config.linux, cgroupsPath: `/nexus-${cluster.instance}/bare-${name}` };
    writeFileSync(join(own, 'config.json'), JSON.stringify({ ...config, linux }));
    await runCommand('runc', ['--root', state, 'run', '--bundle', own, `bare-${cluster.instance}-${name}`]);
  };
  await Promise.all(Array.from({ length: NODES }, (_, index) => limit.run(() => run(String(index)))));
}

/** Pages that no other process shares: the node binary's own are one copy in the page cache for all. */
function privateMb(pid: number): number {
  const rollup = readFileSync(`/proc/${pid}/smaps_rollup`, 'utf8');
  const kilobytes = [...rollup.matchAll(/^Private_(?:Clean|Dirty):\s+(\d+)/gm)].map((match) => Number(match[1]));
  return kilobytes.reduce((sum, value) => sum + value, 0) / 1024;
}

function residentMb(pid: number): number {
  return Number(/^VmRSS:\s+(\d+)/m.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1]) / 1024;
}

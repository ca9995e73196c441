/** A hundred nodes at once: the time until all are Running, and what each agent's process costs. */
import { readFileSync } from 'node:fs';
import { MIB } from '../../shared/limits.js';
import { TestCluster } from '../support/cluster.js';
import { connectTo, createNode } from './controller.js';
import { median, print, printTimes, timed } from './figures.js';
import { agentOf } from './transfer.js';

const NODES = 100;

export async function benchCrowd(): Promise<void> {
  const cluster = await TestCluster.start();
  try {
    const controller = await connectTo(cluster);
    const single = [await timed(() => createNode(controller, 'warm-up', 64, 64 * MIB))];
    let pids: number[] = [];
    const all = await timed(async () => {
      pids = await Promise.all(
        Array.from({ length: NODES }, (_, index) => createNode(controller, `crowd-${index}`, 64, 64 * MIB)),
      );
    });
    printTimes(`${NODES} nodes at once`, [all], { name: 'one node alone', timesMs: single });
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

/** Pages that no other process shares: the node binary's own are one copy in the page cache for all. */
function privateMb(pid: number): number {
  const rollup = readFileSync(`/proc/${pid}/smaps_rollup`, 'utf8');
  const kilobytes = [...rollup.matchAll(/^Private_(?:Clean|Dirty):\s+(\d+)/gm)].map((match) => Number(match[1]));
  return kilobytes.reduce((sum, value) => sum + value, 0) / 1024;
}

function residentMb(pid: number): number {
  return Number(/^VmRSS:\s+(\d+)/m.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1]) / 1024;
}

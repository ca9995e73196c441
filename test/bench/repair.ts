/**
 * From SIGKILL of a node that holds 1 GiB of chunks with two copies to full redundancy, against a plain copy of the same
 * chunks between the two volumes that repair reads and writes.
 */
import { join } from 'node:path';
import type { Controller } from '../../cli/connect/connection.js';
import { runCommand } from '../../shared/exec.js';
import type { Event } from '../../shared/gen/nexus/v1/cluster.js';
import { GIB, MIB } from '../../shared/limits.js';
import { TestCluster, eventually, type NodeJson } from '../support/cluster.js';
import { connectTo } from './controller.js';
import { median, print, printTimes, timed } from './figures.js';
import { writeRandomFile } from './random-file.js';

const RUNS = 3;
const SIZE_BYTES = GIB;
const TIMEOUT_MS = 120_000;

export async function benchRepair(): Promise<void> {
  const cluster = await TestCluster.start();
  try {
    const source = join(cluster.folder, 'source');
    writeRandomFile(source, SIZE_BYTES);
    const controller = await connectTo(cluster);
    const whole: number[] = [];
    const plain: number[] = [];
    const begun: number[] = [];
    for (let run = 0; run < RUNS; run += 1) {
      const figures = await oneRun(cluster, controller, source, run);
      whole.push(figures.wholeMs);
      begun.push(figures.begunMs);
      plain.push(figures.plainMs);
    }
    printTimes('repair of 1 GiB, from SIGKILL to full redundancy', whole, {
      name: 'cp and sync between the same volumes',
      timesMs: plain,
    });
    printTimes('repair begins after the node is known dead', begun);
    print(`repair: ${rateOf(whole)} MB/s, plain copy: ${rateOf(plain)} MB/s`);
    await controller.close();
  } finally {
    for (const line of await cluster.dispose()) print(`LEFT BEHIND: ${line}`);
  }
}

const rateOf = (timesMs: readonly number[]): string => (SIZE_BYTES / MIB / (median(timesMs) / 1000)).toFixed(0);

async function oneRun(
  cluster: TestCluster,
  controller: Controller,
  source: string,
  run: number,
): Promise<{ wholeMs: number; begunMs: number; plainMs: number }> {
  const [dies, stays, spare] = ['dies', 'stays', 'spare'].map((name) => `${name}-${run}`) as [string, string, string];
  for (const name of [dies, stays]) await cluster.ok('node', 'create', name, '--storage', '3G');
  const { id } = await cluster.json<{ id: string }>('file', 'upload', source, '--replicas', '2');
  await cluster.ok('node', 'create', spare, '--storage', '3G');
  const nodes = new Map((await cluster.json<NodeJson[]>('node', 'ls')).map((node) => [node.name, node]));
  const volume = (name: string): string => `/proc/${nodes.get(name)?.pid ?? 0}/root/data`;
  const after = (await eventsOf(controller, 0n)).at(-1)?.id ?? 0n;
  await runCommand('sync', []);
  const plainMs = await timed(async () => {
    const copy = `${volume(spare)}/plain-copy`;
    await runCommand('cp', ['-r', `${volume(stays)}/chunks`, copy], {
      failure: 'the bench cannot go on',
      timeoutMs: TIMEOUT_MS,
    });
    await runCommand('sync', ['-f', copy], { failure: 'the bench cannot go on', timeoutMs: TIMEOUT_MS });
  });
  await runCommand('rm', ['-r', `${volume(spare)}/plain-copy`]);
  await runCommand('sync', []);
  const killedAt = Date.now();
  process.kill(nodes.get(dies)?.pid ?? 0, 'SIGKILL');
  const events = await eventually(
    () => eventsOf(controller, after),
    (seen) => seen.some(({ type }) => type === 'repair.finished'),
    TIMEOUT_MS,
  );
  const at = (type: string): number => Date.parse(events.find((event) => event.type === type)?.at ?? '');
  await cluster.ok('file', 'verify', id);
  await cluster.ok('file', 'rm', id);
  await cluster.ok('node', 'rm', dies, stays, spare);
  return { wholeMs: at('repair.finished') - killedAt, begunMs: at('repair.started') - at('node.failed'), plainMs };
}

async function eventsOf(controller: Controller, afterId: bigint): Promise<Event[]> {
  const events: Event[] = [];
  const stream = controller.cluster.watchEvents({ follow: false, afterId });
  for await (const { event } of controller.messages(stream)) if (event !== undefined) events.push(event);
  return events;
}

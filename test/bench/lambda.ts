/**
 * `print(1)` three ways in one run: bare python3 on the host, in a container of its own by runc, and as an invocation over
 * gRPC; warm at 5 a second, cold, and as many a second as there can be.
 */
import { runCommand } from '../../shared/exec.js';
import type { LambdaResult } from '../../shared/gen/nexus/v1/lambda.js';
import { MIB } from '../../shared/limits.js';
import type { Controller } from '../../cli/connect/connection.js';
import { TestCluster } from '../support/cluster.js';
import { connectTo, createNode } from './controller.js';
import { print, timed } from './figures.js';
import { bareBundle } from './node.js';

const CODE = 'print(1)';
const RUNS = 200;
/** Slow, and only there to be compared with. */
const CONTAINER_RUNS = 30;
const PERIOD_MS = 200;
const SUSTAINED_MS = 15_000;
const WORKERS = 8;

const host = (): Promise<unknown> => runCommand('/usr/bin/python3', ['-c', CODE]);

export async function benchLambda(): Promise<void> {
  const warm: number[] = [];
  const bare: number[] = [];
  const contained: number[] = [];
  await withNode({}, async (cluster, controller) => {
    const { bundle, state } = await bareBundle(cluster, ['/usr/bin/python3', '-c', CODE]);
    const inContainer = (): Promise<unknown> =>
      runCommand('runc', ['--root', state, 'run', '--bundle', bundle, `bare-${cluster.instance}`]);
    let misses = 0;
    for (let at = 0; at < RUNS; at += 1) {
      const began = performance.now();
      // In turn, so that whatever else runs on the machine meets all of them alike.
      warm.push(
        await timed(async () => {
          if (!(await invoke(controller)).warm) misses += 1;
        }),
      );
      bare.push(await timed(host));
      if (at < CONTAINER_RUNS) contained.push(await timed(inContainer));
      await new Promise((resolve) => setTimeout(resolve, Math.max(0, PERIOD_MS - (performance.now() - began))));
    }
    report('python3 -c on the host', bare);
    report('python3 -c by runc run', contained, bare);
    report(`lambda, warm, 5 a second (${misses} of ${RUNS} were not warm)`, warm, bare);
    const atRest = await sustained(() => invoke(controller));
    print(`lambda, sustained by ${WORKERS} callers: ${atRest.toFixed(0)} a second`);
    print(`python3 -c on the host by ${WORKERS} callers: ${(await sustained(host)).toFixed(0)} a second`);
  });
  await withNode({ NEXUS_LAMBDA_POOL_MIN: '0', NEXUS_LAMBDA_POOL_MAX: '0' }, async (_cluster, controller) => {
    const first = await timed(() => invoke(controller));
    print(`lambda, the very first, which starts the template: ${first.toFixed(0)} ms`);
    const cold: number[] = [];
    const beside: number[] = [];
    for (let at = 0; at < RUNS / 2; at += 1) {
      cold.push(await timed(() => invoke(controller)));
      beside.push(await timed(host));
    }
    report('lambda, cold (no pool)', cold, beside);
  });
}

async function invoke({ lambda, messages }: Controller): Promise<LambdaResult> {
  const request = { code: CODE, runtime: '', limits: undefined, input: undefined };
  let last: LambdaResult | undefined;
  for await (const { result } of messages(lambda.runLambda(request))) last = result ?? last;
  if (last?.exitCode !== 0) throw new Error(`the code ended with ${last?.exitCode ?? 'nothing'}`);
  return last;
}

/** A second, over the time. */
async function sustained(work: () => Promise<unknown>): Promise<number> {
  const end = performance.now() + SUSTAINED_MS;
  let done = 0;
  const worker = async (): Promise<void> => {
    while (performance.now() < end) {
      await work();
      done += 1;
    }
  };
  await Promise.all(Array.from({ length: WORKERS }, worker));
  return (1000 * done) / SUSTAINED_MS;
}

async function withNode(
  env: Readonly<Record<string, string>>,
  work: (cluster: TestCluster, controller: Controller) => Promise<void>,
): Promise<void> {
  const cluster = await TestCluster.start({ env });
  try {
    const controller = await connectTo(cluster);
    await createNode(controller, 'n', 1024, 64 * MIB);
    // The pool is filled within a second of the node's start.
    await new Promise((resolve) => setTimeout(resolve, 3000));
    await work(cluster, controller);
    await controller.close();
  } finally {
    for (const line of await cluster.dispose()) print(`LEFT BEHIND: ${line}`);
  }
}

function report(what: string, timesMs: readonly number[], baseline?: readonly number[]): void {
  const sorted = [...timesMs].sort((a, b) => a - b);
  const at = (share: number): number => sorted[Math.min(sorted.length - 1, Math.floor(share * sorted.length))] ?? 0;
  const middle = (times: readonly number[]): number =>
    [...times].sort((a, b) => a - b)[Math.floor(times.length / 2)] ?? 0;
  const ratio = baseline === undefined ? '' : `, ${(at(0.5) / middle(baseline)).toFixed(2)} x bare python3`;
  print(`${what}: p50 ${at(0.5).toFixed(1)} ms, p99 ${at(0.99).toFixed(1)} ms${ratio}`);
}

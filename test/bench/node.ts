/**
 * Create-to-Running of one node against a bare `runc run` of /bin/true from the same image, and against `podman run` where
 * that is installed: over gRPC, and as a command.
 */
import { mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { Cgroup } from '../../shared/cgroup/cgroup.js';
import { detectCgroupLayout } from '../../shared/cgroup/layout.js';
import { runCommand, tryCommand } from '../../shared/exec.js';
import { MIB } from '../../shared/limits.js';
import { eventually, TestCluster } from '../support/cluster.js';
import { connectTo, createNode } from './controller.js';
import { median, print, printTimes, timed } from './figures.js';

const RUNS = 9;

export async function benchNode(): Promise<void> {
  await benchSpares();
  const cluster = await TestCluster.start();
  try {
    const controller = await connectTo(cluster);
    const bare = await bareBundle(cluster);
    await using podman = await openPodman(cluster);
    const created: number[] = [];
    const typed: number[] = [];
    const runs: number[] = [];
    const ofPodman: number[] = [];
    for (let run = 0; run < RUNS; run += 1) {
      runs.push(
        await timed(() =>
          runCommand('runc', ['--root', bare.state, 'run', '--bundle', bare.bundle, `bare-${cluster.instance}`]),
        ),
      );
      created.push(await timed(() => createNode(controller, `n${run}`, 128, 256 * MIB)));
      typed.push(await timed(() => cluster.ok('node', 'create', `t${run}`, '--mem', '128', '--storage', '256M')));
      if (podman !== undefined) ofPodman.push(await timed(() => podman.run(`p${run}`)));
    }
    printSteps(await stepTimes(cluster));
    printTimes('node create to Running', created, { name: 'bare runc run', timesMs: runs });
    printTimes('nexus node create, typed', typed, { name: 'bare runc run', timesMs: runs });
    if (podman === undefined) print('podman is not installed: no figures against it');
    else {
      printTimes('node create to Running', created, { name: 'podman run -d', timesMs: ofPodman });
      printTimes('nexus node create, typed', typed, { name: 'podman run -d', timesMs: ofPodman });
    }
    const removed: number[] = [];
    for (let run = 0; run < RUNS; run += 1) {
      const request = { node: `n${run}`, force: false };
      removed.push(await timed(() => controller.call(controller.node, controller.node.removeNode, request)));
    }
    printTimes('node rm', removed, { name: 'bare runc run', timesMs: runs });
    await controller.close();
  } finally {
    for (const line of await cluster.dispose()) print(`LEFT BEHIND: ${line}`);
  }
}

interface Podman extends AsyncDisposable {
  /** Starts a container without network and volume that runs on. */
  run(name: string): Promise<void>;
}

/** With a store of its own, as nothing of the host's is to change, and with limits that root may set here. */
async function openPodman({ folder, stateDir, instance }: TestCluster): Promise<Podman | undefined> {
  if ((await tryCommand('podman', ['--version']).catch(() => undefined))?.exitCode !== 0) return undefined;
  const places = ['--root', join(folder, 'podman'), '--runroot', join(folder, 'podman-run')];
  const options = [...places, '--cgroup-manager=cgroupfs', '--runtime=runc', '--storage-driver=overlay'];
  const limits = ['nofile', 'nproc'].flatMap((name) => ['--ulimit', `${name}=1024:1024`]);
  const archive = join(folder, 'podman.tar');
  await runCommand('tar', ['-C', join(stateDir, 'images', 'base', 'rootfs'), '-cf', archive, '.']);
  const made: string[] = [];
  const image = `nexus-${instance}`;
  await runCommand('podman', [...options, 'import', archive, image]);
  return {
    run: async (name) => {
      made.push(`${image}-${name}`);
      const command = ['/bin/busybox', 'sleep', '600'];
      const container = [
        '--network=none',
        `--cgroup-parent=/nexus-${instance}`,
        ...limits,
        '--name',
        `${image}-${name}`,
        image,
        ...command,
      ];
      await runCommand('podman', [...options, 'run', '-d', ...container]);
    },
    [Symbol.asyncDispose]: async () => {
      await runCommand('podman', [...options, 'rm', '--force', '--time', '0', ...made]);
      // Of the processes that it had watch the containers.
      await new Cgroup(await detectCgroupLayout(), `/nexus-${instance}/conmon`).removeTree();
    },
  };
}

/** The same where a spare is ready for each creation. */
async function benchSpares(): Promise<void> {
  const cluster = await TestCluster.start({ env: { NEXUS_SPARE_NODES: '1' } });
  try {
    const controller = await connectTo(cluster);
    const bare = await bareBundle(cluster);
    const created: number[] = [];
    const runs: number[] = [];
    for (let run = 0; run < RUNS; run += 1) {
      await eventually(
        () => controller.call(controller.cluster, controller.cluster.getStatus, {}),
        ({ spares }) => spares?.ready === 1,
      );
      runs.push(
        await timed(() =>
          runCommand('runc', ['--root', bare.state, 'run', '--bundle', bare.bundle, `bare-${cluster.instance}`]),
        ),
      );
      created.push(await timed(() => createNode(controller, `s${run}`, 0, 0)));
    }
    printSteps(await stepTimes(cluster));
    printTimes('node create to Running, of a spare', created, { name: 'bare runc run', timesMs: runs });
    await controller.close();
  } finally {
    for (const line of await cluster.dispose()) print(`LEFT BEHIND: ${line}`);
  }
}

/** Milliseconds of each step of all creations, by its name, as the events tell them. */
async function stepTimes(cluster: TestCluster): Promise<Map<string, number[]>> {
  const events = await cluster.json<{ type: string; message: string }[]>('events');
  const times = new Map<string, number[]>();
  for (const { message } of events.filter(({ type }) => type === 'node.started')) {
    for (const [, name = '', ms] of message.matchAll(/([a-z-]+) (\d+) ms/g)) {
      times.set(name, [...(times.get(name) ?? []), Number(ms)]);
    }
  }
  return times;
}

function printSteps(times: ReadonlyMap<string, readonly number[]>): void {
  for (const [name, ms] of times) print(`  step ${name.padEnd(20)} ${String(median(ms)).padStart(5)} ms (median)`);
}

/** A container of the base image and nothing of Nexus. */
export async function bareBundle(
  cluster: TestCluster,
  args: readonly string[] = ['/bin/busybox', 'true'],
): Promise<{ bundle: string; state: string }> {
  const bundle = join(cluster.folder, 'bare');
  const state = join(cluster.folder, 'bare-state');
  mkdirSync(bundle, { recursive: true });
  rmSync(join(bundle, 'config.json'), { force: true });
  await runCommand('runc', ['spec', '--bundle', bundle]);
  const config = JSON.parse(readFileSync(join(bundle, 'config.json'), 'utf8')) as {
    process: { terminal: boolean; args: string[] };
    root: { path: string };
    linux: { cgroupsPath?: string };
  };
  config.process.terminal = false;
  config.process.args = [...args];
  config.root.path = join(cluster.stateDir, 'images', 'base', 'rootfs');
  config.linux.cgroupsPath = `/nexus-${cluster.instance}/bare`;
  writeFileSync(join(bundle, 'config.json'), JSON.stringify(config));
  return { bundle, state };
}

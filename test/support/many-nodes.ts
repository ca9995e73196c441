/**
 * A cluster of many nodes from its first to its last: made at once, looked at, a file spread over them, some killed at
 * once, the controller killed, all removed. Checks what must hold at each step and tells how long it took; so it is a
 * test with a few nodes and a measurement with a thousand.
 */
import { randomBytes } from 'node:crypto';
import { readdirSync, readFileSync, readlinkSync } from 'node:fs';
import { join } from 'node:path';
import { Readable } from 'node:stream';
import { isDeepStrictEqual } from 'node:util';
import { expect } from 'chai';
import { grpcCatalogue } from '../../cli/connect/catalogue.js';
import { openController, type Controller } from '../../cli/connect/connection.js';
import { loadSettings } from '../../shared/config/settings.js';
import { intervalFor } from '../../controller/node/watch/pace.js';
import { HEARTBEAT_INTERVAL_MS, KIB, MIB } from '../../shared/limits.js';
import { streamSource } from '../../shared/transfer/source.js';
import { uploadFile } from '../../shared/transfer/upload.js';
import { eventually, type NodeJson, type TestCluster } from './cluster.js';

export interface ManyNodes {
  readonly nodes: number;
  /** Nodes that hold a copy of the file. */
  readonly spreadOver: number;
  readonly killed: number;
}

/** Calls under way at once: the controller makes a few nodes at a time, and the others would only wait in it. */
const CALLS = 24;
const COPIES = 3;
const CHUNK_BYTES = 64 * KIB;
/** Only ends what hangs. */
const WITHIN_MS = 1_800_000;

/** Instances of inotify that the children of a process hold. */
function watchesOf(pid: number): string[] {
  const children = readFileSync(`/proc/${pid}/task/${pid}/children`, 'utf8').trim().split(' ');
  const held = children.flatMap((child) => readdirSync(`/proc/${child}/fd`).map((fd) => `/proc/${child}/fd/${fd}`));
  return held.filter((path) => {
    try {
      return readlinkSync(path) === 'anon_inode:inotify';
    } catch {
      // Closed meanwhile: a figure was read.
      return false;
    }
  });
}

interface Where {
  readonly chunks: readonly { readonly replicas: readonly { readonly node: string; readonly state: string }[] }[];
}

/** `tell`: a step that is over, and its ms. `atRest` is called when all nodes are there and do nothing. */
export async function liveThrough(
  cluster: TestCluster,
  shape: ManyNodes,
  tell: (step: string, ms: number) => void,
  atRest: () => Promise<void> = () => Promise.resolve(),
): Promise<void> {
  const step = async <Result>(name: string, work: () => Promise<Result>): Promise<Result> => {
    const beganAt = performance.now();
    const result = await work();
    tell(name, performance.now() - beganAt);
    return result;
  };
  const settings = loadSettings({ env: { ...cluster.env, NEXUS_CONFIG: undefined }, uid: 0 });
  const signal = new AbortController().signal;
  const withController = async <Result>(work: (controller: Controller) => Promise<Result>): Promise<Result> => {
    const controller = await openController(settings, signal);
    return await work(controller).finally(() => controller.close());
  };
  const list = (): Promise<NodeJson[]> => cluster.json<NodeJson[]>('node', 'ls');
  const names = Array.from({ length: shape.nodes }, (_, index) => `many-${index}`);

  await step(`${shape.nodes} nodes are made`, () =>
    withController((controller) => inTurns(names, (name) => createNode(controller, name))),
  );
  const made = await step('node ls', list);
  expect(made.map(({ status }) => status)).to.deep.equal(names.map(() => 'Running'));
  expect(new Set(made.map(({ ip }) => ip)).size).to.equal(shape.nodes);
  // A machine has 128 instances of inotify by default.
  expect(made.flatMap(({ pid }) => watchesOf(pid))).to.deep.equal([]);
  await step('status', () => cluster.ok('status'));
  // As rarely as it has to be with so many, also for the first one, which was made when there were few.
  const [first = ''] = names;
  await eventually(
    () => cluster.json<{ heartbeat_interval_ms: number }>('agent', 'inspect', first),
    (seen) => seen.heartbeat_interval_ms === intervalFor(shape.nodes, HEARTBEAT_INTERVAL_MS),
  );
  await atRest();

  const chunks = Math.floor(shape.spreadOver / COPIES);
  const content = randomBytes(chunks * CHUNK_BYTES);
  const file = await step(`a file of ${chunks} chunks with ${COPIES} copies each is stored`, () =>
    withController((controller) =>
      uploadFile(grpcCatalogue(controller), {
        name: 'spread',
        replicas: COPIES,
        expectedSize: content.length,
        chunkSizes: Array<number>(chunks).fill(CHUNK_BYTES),
        source: streamSource(Readable.from([content])),
        signal,
      }),
    ),
  );
  const where = (): Promise<Where> => cluster.json<Where>('file', 'where', file.id);
  const placed = await where();
  expect(new Set(holdersIn(placed).flat()).size).to.equal(chunks * COPIES);

  const victims = victimsAmong(placed, shape.killed);
  expect(victims).to.have.length(shape.killed);
  const isVictim = new Set(victims);
  const pids = made.filter(({ name }) => isVictim.has(name)).map(({ pid }) => pid);
  for (const pid of pids) expect(pid).to.be.greaterThan(1);
  for (const pid of pids) process.kill(pid, 'SIGKILL');
  await step(`${shape.killed} killed at once are known`, () =>
    eventually(list, (nodes) => nodes.filter(({ status }) => status === 'Failed').length === shape.killed, WITHIN_MS),
  );
  await step('their copies are made elsewhere', () =>
    eventually(
      where,
      (seen) => holdersIn(seen).every((holders) => holders.filter((name) => !isVictim.has(name)).length === COPIES),
      WITHIN_MS,
    ),
  );
  const target = join(cluster.folder, 'spread');
  await cluster.ok('file', 'download', file.id, target);
  expect(readFileSync(target).equals(content)).to.equal(true);
  expect((await cluster.run('file', 'verify', file.id)).code, 'verified').to.equal(0);

  const before = await list();
  await cluster.killController();
  const after = await step('the controller, killed, is back and has heard all', async () => {
    await cluster.startController();
    return await eventually(
      list,
      (nodes) => nodes.every(({ name, agent_started_at }) => isVictim.has(name) || agent_started_at !== ''),
      WITHIN_MS,
    );
  });
  const identity = ({ id, name, pid, status, agent_started_at }: NodeJson): object =>
    isVictim.has(name) ? { id, status } : { id, pid, status, agent_started_at };
  const was = new Map(before.map((node) => [node.id, identity(node)]));
  // Those alone that differ: a thousand would be shown without them.
  const changed = after.filter((node) => !isDeepStrictEqual(identity(node), was.get(node.id)));
  expect(changed.map((node) => ({ is: identity(node), was: was.get(node.id) }))).to.deep.equal([]);
  expect(after).to.have.length(before.length);

  await cluster.ok('file', 'rm', file.id);
  await step(`${shape.nodes} nodes are removed`, () =>
    withController((controller) =>
      inTurns(names, (node) =>
        controller.call(controller.node, controller.node.removeNode, { node, force: true }, WITHIN_MS),
      ),
    ),
  );
  expect(await list()).to.deep.equal([]);
}

async function createNode(controller: Controller, name: string): Promise<void> {
  const request = {
    name,
    memoryMb: 64,
    cpuShares: 0,
    storageSize: BigInt(64 * MIB),
    image: '',
    labels: {},
    pidsLimit: 0,
  };
  await controller.call(controller.node, controller.node.createNode, request, WITHIN_MS);
}

async function inTurns<Item>(items: readonly Item[], work: (item: Item) => Promise<unknown>): Promise<void> {
  const waiting = [...items];
  const one = async (): Promise<void> => {
    for (let item = waiting.shift(); item !== undefined; item = waiting.shift()) await work(item);
  };
  await Promise.all(Array.from({ length: CALLS }, one));
}

/** The names of the nodes that have a whole copy of each chunk. */
const holdersIn = ({ chunks }: Where): string[][] =>
  chunks.map(({ replicas }) => replicas.filter(({ state }) => state === 'ready').map(({ node }) => node));

/** Nodes of which no chunk has all of its copies. */
function victimsAmong(placed: Where, count: number): string[] {
  const victims = new Set<string>();
  for (const holders of [...holdersIn(placed), ...holdersIn(placed)]) {
    const left = holders.filter((name) => !victims.has(name));
    if (victims.size < count && left.length > 1) victims.add(left[0] as string);
  }
  return [...victims];
}

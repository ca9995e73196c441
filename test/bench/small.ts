/**
 * Many small files: a folder of them stored and fetched by the command line, against `cp -r` of the same folder with an
 * fsync of each file, and single ones stored by REST, 16 clients at once. Files a second, and the processor time a file
 * of the client, the controller and all agents.
 */
import { mkdirSync, readFileSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { Agent, request } from 'node:http';
import { randomBytes } from 'node:crypto';
import { join } from 'node:path';
import { runCommand } from '../../shared/exec.js';
import { TestCluster, type NodeJson } from '../support/cluster.js';
import { GatewayClient } from '../support/gateway.js';
import { cpuSeconds, median, print, timed } from './figures.js';
import { agentOf } from './transfer.js';

const FILES = 2000;
const FILE_BYTES = 4096;
const RUNS = 3;
const REST_FILES = 1000;
const REST_CLIENTS = 16;
const TIMEOUT_MS = 300_000;

export async function benchSmall(): Promise<void> {
  const cluster = await TestCluster.start({ gateway: true, env: { NEXUS_QUOTA_MB: '0', NEXUS_LOG_LEVEL: 'warn' } });
  try {
    const gateway = await GatewayClient.of(cluster);
    const token = await gateway.register('bench');
    for (const name of ['a', 'b', 'c']) await cluster.ok('node', 'create', name, '--mem', '256M', '--storage', '1G');
    const meter = await Meter.of(cluster);
    const source = join(cluster.folder, 'source');
    writeFiles(source);
    for (const replicas of [1, 2]) await benchFolder(cluster, meter, source, replicas);
    for (const bytes of [0, FILE_BYTES]) await benchRest(meter, gateway, token, bytes);
  } finally {
    for (const line of await cluster.dispose()) print(`LEFT BEHIND: ${line}`);
  }
}

function writeFiles(folder: string): void {
  for (let at = 0; at < FILES; at += 1) {
    const under = join(folder, `d${at % 20}`);
    mkdirSync(under, { recursive: true });
    writeFileSync(join(under, `f${at}`), randomBytes(FILE_BYTES));
  }
}

async function benchFolder(cluster: TestCluster, meter: Meter, source: string, replicas: number): Promise<void> {
  const copies = join(cluster.folder, 'copies');
  const plain: Sample[] = [];
  const up: Sample[] = [];
  const down: Sample[] = [];
  const removed: Sample[] = [];
  for (let run = 0; run < RUNS; run += 1) {
    const path = `/small-${replicas}-${run}`;
    const copy = join(copies, `plain-${run}`);
    mkdirSync(copies, { recursive: true });
    await runTool('sync');
    plain.push(
      await meter.sample(() =>
        runTool('sh', '-c', `cp -r ${source} ${copy} && find ${copy} -type f -print0 | xargs -0 sync`),
      ),
    );
    await runTool('sync');
    up.push(await meter.sample(() => cluster.typedOk('fs', 'upload', source, path, '-r', String(replicas))));
    await runTool('sync');
    down.push(await meter.sample(() => cluster.typedOk('fs', 'download', path, join(copies, `got-${run}`))));
    await runTool('diff', '-r', source, join(copies, `got-${run}`));
    removed.push(await meter.sample(() => cluster.typedOk('fs', 'rm', '-r', path)));
    rmSync(copies, { recursive: true });
  }
  print(
    `${FILES} files of ${FILE_BYTES} bytes, ${replicas} cop${replicas === 1 ? 'y' : 'ies'}, medians of ${RUNS} runs`,
  );
  printSamples('  cp -r with fsync', plain, FILES);
  printSamples('  upload of the folder', up, FILES, plain);
  printSamples('  download of the folder', down, FILES, plain);
  printSamples('  removal of the folder', removed, FILES, plain);
}

async function benchRest(meter: Meter, { url }: GatewayClient, token: string, bytes: number): Promise<void> {
  const agent = new Agent({ keepAlive: true, maxSockets: REST_CLIENTS });
  const body = randomBytes(bytes);
  let next = 0;
  const client = async (): Promise<void> => {
    for (let at = next++; at < REST_FILES; at = next++) {
      const path = `${url}/api/fs/upload?path=/rest-${bytes}/f${at}&parents=true`;
      await post(path, token, body, agent);
    }
  };
  const sample = await meter.sample(() => Promise.all(Array.from({ length: REST_CLIENTS }, client)));
  agent.destroy();
  printSamples(`${REST_FILES} files of ${bytes} bytes by REST, ${REST_CLIENTS} clients`, [sample], REST_FILES);
}

function post(url: string, token: string, body: Buffer, agent: Agent): Promise<void> {
  return new Promise((resolve, reject) => {
    const headers = {
      authorization: `Bearer ${token}`,
      'content-type': 'application/octet-stream',
      'content-length': body.length,
    };
    const outgoing = request(url, { method: 'POST', headers, agent }, (answer) => {
      const pieces: Buffer[] = [];
      answer.on('data', (piece: Buffer) => pieces.push(piece));
      answer.once('end', () => {
        if ((answer.statusCode ?? 500) < 300) resolve();
        else reject(new Error(`${answer.statusCode ?? 0}: ${Buffer.concat(pieces).toString('utf8')}`));
      });
      answer.once('error', reject);
    });
    outgoing.once('error', reject);
    outgoing.end(body);
  });
}

const runTool = (...[program = '', ...args]: string[]): Promise<unknown> =>
  runCommand(program, args, { failure: 'the bench cannot go on', timeoutMs: TIMEOUT_MS });

interface Sample {
  readonly ms: number;
  /** Processor seconds. */
  readonly client: number;
  readonly controller: number;
  readonly gateway: number;
  readonly agents: number;
}

class Meter {
  private constructor(
    private readonly controller: number,
    private readonly gateway: number,
    private readonly agents: readonly number[],
  ) {}

  static async of(cluster: TestCluster): Promise<Meter> {
    const nodes = await cluster.json<NodeJson[]>('node', 'ls');
    const agents = nodes.map(({ pid }) => agentOf(pid));
    return new Meter(cluster.controllerPid, gatewayOf(cluster.controllerPid), agents);
  }

  async sample(work: () => Promise<unknown>): Promise<Sample> {
    const before = this.#now();
    const ms = await timed(work);
    const after = this.#now();
    const spent = (of: keyof typeof before): number => after[of] - before[of];
    const [client, controller, gateway] = [spent('client'), spent('controller'), spent('gateway')];
    return { ms, client, controller, gateway, agents: spent('agents') };
  }

  #now(): { client: number; controller: number; gateway: number; agents: number } {
    return {
      client: childSeconds(),
      controller: cpuSeconds(this.controller),
      gateway: cpuSeconds(this.gateway),
      agents: this.agents.reduce((sum, pid) => sum + cpuSeconds(pid), 0),
    };
  }
}

/** Of children of this process that have ended: what `typedOk` ran. */
function childSeconds(): number {
  const fields = readFileSync('/proc/self/stat', 'utf8')
    .replace(/^.*\) /, '')
    .split(' ');
  return (Number(fields[13]) + Number(fields[14])) / 100;
}

function gatewayOf(controller: number): number {
  for (const name of readdirSync('/proc')) {
    if (!/^\d+$/.test(name)) continue;
    try {
      const stat = readFileSync(`/proc/${name}/stat`, 'utf8').replace(/^.*\) /, '');
      const isChild = stat.split(' ')[1] === String(controller);
      if (isChild && readFileSync(`/proc/${name}/cmdline`, 'utf8').includes('gateway')) return Number(name);
    } catch {
      // It has ended meanwhile.
    }
  }
  throw new Error('the gateway is not running');
}

function printSamples(what: string, samples: readonly Sample[], files: number, baseline?: readonly Sample[]): void {
  const of = (name: keyof Sample): number => median(samples.map((sample) => sample[name]));
  const perFile = (name: keyof Sample): string => ((of(name) * 1000) / files).toFixed(2);
  const ratio =
    baseline === undefined ? '' : `, ${(of('ms') / median(baseline.map(({ ms }) => ms))).toFixed(2)} x cp -r`;
  print(
    `${what}: ${((files / of('ms')) * 1000).toFixed(0)} a second (${of('ms').toFixed(0)} ms)${ratio}; processor ms a file: ` +
      `client ${perFile('client')}, controller ${perFile('controller')}, gateway ${perFile('gateway')}, agents ${perFile('agents')}`,
  );
}

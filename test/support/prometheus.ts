/** A real Prometheus on loopback, with the sample configuration pointed at a cluster's gateway; and promtool. */
import { spawn, spawnSync, type ChildProcess } from 'node:child_process';
import { cpSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { eventually, PROJECT } from './cluster.js';

export const PROMETHEUS_FOLDER = join(PROJECT, 'deploy', 'prometheus');

export interface Series {
  readonly metric: Readonly<Record<string, string>>;
  readonly value: readonly [at: number, value: string];
}

export interface Target {
  readonly labels: { readonly job: string; readonly instance: string };
  readonly health: string;
  readonly lastError: string;
}

export class Prometheus implements AsyncDisposable {
  private constructor(
    private readonly url: string,
    private readonly folder: string,
    private readonly child: ChildProcess,
  ) {}

  /** `gateway`: host:port. Scrapes each second, so that a test need not wait for a quarter of a minute. */
  static async start(gateway: string): Promise<Prometheus> {
    const folder = mkdtempSync(join(tmpdir(), 'nexus-prometheus-'));
    cpSync(PROMETHEUS_FOLDER, folder, { recursive: true });
    const config = readFileSync(join(folder, 'prometheus.yml'), 'utf8')
      .replaceAll('127.0.0.1:8080', gateway)
      .replaceAll(/: 1[05]s$/gm, ': 1s');
    writeFileSync(join(folder, 'prometheus.yml'), config);
    const listen = `127.0.0.1:${await freePort()}`;
    const options = ['config.file=prometheus.yml', `web.listen-address=${listen}`, 'storage.tsdb.path=data'];
    const child = spawn(
      'prometheus',
      [...options, 'log.level=warn'].map((option) => `--${option}`),
      {
        cwd: folder,
        stdio: 'ignore',
      },
    );
    const prometheus = new Prometheus(`http://${listen}`, folder, child);
    await eventually(
      () =>
        fetch(`${prometheus.url}/-/ready`).then(
          ({ ok }) => ok,
          () => false,
        ),
      (isReady) => isReady,
      30_000,
    );
    return prometheus;
  }

  /** The instant value of an expression; throws when Prometheus refuses it. */
  async query(expression: string): Promise<readonly Series[]> {
    const { result } = await this.#get<{ result: readonly Series[] }>('query', { query: expression });
    return result;
  }

  async targets(): Promise<readonly Target[]> {
    return (await this.#get<{ activeTargets: readonly Target[] }>('targets', { state: 'active' })).activeTargets;
  }

  /** Names of the alerts, with how they are evaluated. */
  async alertRules(): Promise<readonly { readonly name: string; readonly query: string; readonly health: string }[]> {
    type Rules = { groups: readonly { rules: readonly { name: string; query: string; health: string }[] }[] };
    return (await this.#get<Rules>('rules', { type: 'alert' })).groups.flatMap(({ rules }) => rules);
  }

  async #get<Data>(path: string, parameters: Readonly<Record<string, string>>): Promise<Data> {
    const response = await fetch(`${this.url}/api/v1/${path}?${new URLSearchParams(parameters).toString()}`);
    const answer = (await response.json()) as { status: string; data: Data; error?: string };
    if (answer.status !== 'success') throw new Error(`${JSON.stringify(parameters)}: ${answer.error ?? ''}`);
    return answer.data;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    if (this.child.exitCode === null && this.child.signalCode === null) {
      const ended = new Promise((resolve) => this.child.once('exit', resolve));
      this.child.kill('SIGTERM');
      await ended;
    }
    rmSync(this.folder, { recursive: true, force: true });
  }
}

/** Undefined where it is there. */
export function whyNoPrometheus(): string | undefined {
  const missing = ['prometheus', 'promtool'].find((program) => spawnSync(program, ['--version']).status !== 0);
  return missing === undefined ? undefined : `${missing} is missing: run deploy/bootstrap.sh --for test`;
}

/** What promtool says, and its exit code. */
export function promtool(args: readonly string[], input = ''): { readonly code: number | null; readonly said: string } {
  const { status, stdout, stderr } = spawnSync('promtool', args, { input, encoding: 'utf8' });
  return { code: status, said: `${stdout}${stderr}` };
}

async function freePort(): Promise<number> {
  const server = createServer().listen(0, '127.0.0.1');
  await new Promise((resolve) => server.once('listening', resolve));
  const address = server.address();
  await new Promise((resolve) => server.close(resolve));
  return typeof address === 'object' && address !== null ? address.port : 0;
}

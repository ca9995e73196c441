/**
 * A real cluster for system tests: the built controller as its own process under its own instance name, driven by
 * commands. `dispose` purges it and fails when anything is left on the host.
 *
 * Commands run in the test's own process: tests run thousands of them, and the start of a process takes more of the
 * processor than most commands do. The built command line runs where the process is the point: `typed`, the pages of the
 * documentation with each of the commands, users at other machines, terminals, completion.
 */
import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { CONTROLLER_UP } from '../../shared/config/instance.js';
import { runNexus } from './fake-controller.js';
import { residueOf, testInstance } from './residue.js';

export const PROJECT = join(dirname(fileURLToPath(import.meta.url)), '..', '..');
const CLI = join(PROJECT, 'dist', 'cli', 'main.js');
const CONTROLLER = join(PROJECT, 'dist', 'controller', 'main.js');

export interface CliResult {
  readonly code: number;
  readonly stdout: string;
  readonly stderr: string;
}

export interface ClusterOptions {
  readonly runtime?: 'runc' | 'process';
  /** Whether it has a gateway; default: no, because it costs each suite a process and most don't need it. */
  readonly gateway?: boolean;
  /** Extra settings as environment variables. */
  readonly env?: Readonly<Record<string, string>>;
}

/** A start takes a second; on a machine with much else to do, many. */
const READY_TIMEOUT_MS = 180_000;
/** Ends, with what the nodes do at the end, take seconds; minutes are a fault. */
const END_TIMEOUT_MS = 180_000;

export class TestCluster {
  readonly instance = testInstance('t');
  readonly folder = mkdtempSync(join(tmpdir(), 'nexus-test-'));
  readonly stateDir = `/var/lib/nexus-${this.instance}`;
  readonly runDir = `/run/nexus-${this.instance}`;
  readonly socket = `/var/run/nexus-${this.instance}.sock`;
  #controller: ChildProcess | undefined;
  #log = '';

  constructor(private readonly options: ClusterOptions = {}) {}

  static async start(options: ClusterOptions = {}): Promise<TestCluster> {
    const cluster = new TestCluster(options);
    try {
      await cluster.startController();
    } catch (error) {
      // Nobody else knows of it: a controller that goes on would keep the run from ending.
      await cluster.dispose().catch(() => cluster.killController());
      throw error;
    }
    return cluster;
  }

  get controllerPid(): number {
    return this.#controller?.pid ?? 0;
  }

  /** The end of what the controller has logged. */
  get log(): string {
    return this.#log;
  }

  get env(): NodeJS.ProcessEnv {
    return {
      ...process.env,
      NEXUS_INSTANCE: this.instance,
      NEXUS_RUNTIME: this.options.runtime ?? 'runc',
      NEXUS_GATEWAY: this.options.gateway === true ? 'on' : 'off',
      ...this.options.env,
    };
  }

  /** Starts the controller and waits until it serves. `env` arms failpoints. */
  async startController(env: Readonly<Record<string, string>> = {}): Promise<void> {
    const child = spawn(process.execPath, [CONTROLLER], {
      env: { ...this.env, NEXUS_LOG_LEVEL: 'debug', ...env },
      stdio: ['ignore', 'pipe', 'pipe'],
    });
    this.#controller = child;
    this.#log = '';
    const collect = (data: Buffer): void => {
      if (this.#controller === child) this.#log = (this.#log + data.toString('utf8')).slice(-20_000);
    };
    child.stdout.on('data', collect);
    child.stderr.on('data', collect);
    const deadline = Date.now() + READY_TIMEOUT_MS;
    while (!this.#log.includes(CONTROLLER_UP)) {
      if (child.exitCode !== null || child.signalCode !== null) throw new Error(`the controller ended:\n${this.#log}`);
      if (Date.now() > deadline) throw new Error(`the controller is not up:\n${this.#log}`);
      await new Promise((resolve) => setTimeout(resolve, 20));
    }
  }

  /** Runs another controller on the same instance until it ends by itself. */
  async tryController(env: Readonly<Record<string, string>> = {}): Promise<{ code: number; output: string }> {
    const child = spawn(process.execPath, [CONTROLLER], {
      env: { ...this.env, ...env },
      stdio: ['ignore', 'pipe', 'inherit'],
    });
    let output = '';
    child.stdout.on('data', (data: Buffer) => {
      output += data.toString('utf8');
    });
    const code = await new Promise<number | null>((resolve) => child.once('close', resolve));
    return { code: code ?? 1, output };
  }

  /** Resolves when the controller's process has ended by itself or by a signal. */
  async controllerEnd(): Promise<void> {
    const child = this.#controller;
    if (child === undefined || child.exitCode !== null || child.signalCode !== null) return;
    try {
      await once(child, 'exit', { signal: AbortSignal.timeout(END_TIMEOUT_MS) });
    } catch (error) {
      throw new Error(`the controller goes on:\n${this.#log}`, { cause: error });
    }
  }

  async killController(signal: NodeJS.Signals = 'SIGKILL'): Promise<void> {
    this.#controller?.kill(signal);
    await this.controllerEnd();
  }

  /** Runs a command; never throws for its exit code. */
  run(...args: string[]): Promise<CliResult> {
    return this.runWith({}, ...args);
  }

  async runWith(
    { input, signal }: { readonly input?: Buffer | string; readonly signal?: AbortSignal },
    ...args: string[]
  ): Promise<CliResult> {
    // Whoever ends a command ends its process. `up` and `down` start and end others.
    if (signal !== undefined || args[0] === 'up' || args[0] === 'down')
      return await this.typed({ input, signal }, ...args);
    const { exitCode: code, stdout, stderr } = await runNexus(args, this.env, input);
    return { code, stdout, stderr };
  }

  /** Runs the built command line as a process of its own. */
  typed(
    options: {
      readonly input?: Buffer | string | undefined;
      readonly signal?: AbortSignal | undefined;
      readonly killSignal?: NodeJS.Signals;
    },
    ...args: string[]
  ): Promise<CliResult> {
    const { signal, killSignal } = options;
    const child = spawn(process.execPath, [CLI, ...args], {
      env: this.env,
      stdio: ['pipe', 'pipe', 'pipe'],
      signal,
      killSignal,
    });
    const stdout: Buffer[] = [];
    const stderr: Buffer[] = [];
    child.stdout.on('data', (data: Buffer) => stdout.push(data));
    child.stderr.on('data', (data: Buffer) => stderr.push(data));
    child.stdin.on('error', () => undefined);
    child.stdin.end(options.input ?? '');
    return new Promise((resolve, reject) => {
      child.once('error', reject);
      child.once('close', (code) => {
        const text = (parts: Buffer[]): string => Buffer.concat(parts).toString('utf8');
        resolve({ code: code ?? 1, stdout: text(stdout), stderr: text(stderr) });
      });
    });
  }

  /** The same, of which success is expected. */
  async typedOk(...args: string[]): Promise<string> {
    return expectSuccess(args, await this.typed({}, ...args));
  }

  /** Runs a command and expects success. */
  async ok(...args: string[]): Promise<string> {
    return expectSuccess(args, await this.run(...args));
  }

  async json<T>(...args: string[]): Promise<T> {
    return JSON.parse(await this.ok(...args, '--output', 'json')) as T;
  }

  /** An account that `--as` can name. */
  async createUser(name: string): Promise<void> {
    const line = ['user', 'create', name, '--email', `${name}@example.org`];
    const made = await this.runWith({ input: `the password of ${name}\n` }, ...line);
    if (made.code !== 0) throw new Error(`user ${name} could not be made: ${made.stderr}`);
  }

  /** A node's log, for messages of failed tests. */
  nodeLog(id: string): string {
    const path = join(this.stateDir, 'logs', `${id}.log`);
    return existsSync(path) ? readFileSync(path, 'utf8') : '';
  }

  /** Purges, then says what is left of the instance on the host (nothing, if all is well). */
  async dispose(): Promise<string[]> {
    const child = this.#controller;
    if (child === undefined || child.exitCode !== null || child.signalCode !== null) await this.startController();
    const down = await this.run('down', '--purge');
    // Its words say why; a wait for a controller that goes on would end with others.
    if (down.code !== 0) this.#controller?.kill('SIGTERM');
    await this.controllerEnd();
    rmSync(this.folder, { recursive: true, force: true });
    const failed = down.code === 0 ? [] : [`nexus down --purge exited ${down.code}: ${down.stderr}`];
    return [...failed, ...residueOf(this.instance)];
  }
}

function expectSuccess(args: readonly string[], { code, stdout, stderr }: CliResult): string {
  if (code !== 0) throw new Error(`nexus ${args.join(' ')} exited ${code}: ${stderr}`);
  return stdout;
}

export interface NodeJson {
  readonly id: string;
  readonly name: string;
  readonly status: string;
  readonly status_reason?: string;
  readonly ip: string;
  readonly pid: number;
  readonly agent_started_at?: string;
  readonly slot?: number;
  readonly volume_state?: string;
}

const FIRST_PAUSE_MS = 10;
const LONGEST_PAUSE_MS = 400;

/**
 * Looks again until `check` holds, ever less often: what is waited for is seen at most a fifth of the wait too late, and
 * looking takes little of the processor that it needs itself. Says what was last seen when it never holds.
 */
export async function eventually<T>(
  look: () => Promise<T> | T,
  check: (seen: T) => boolean,
  withinMs = 120_000,
): Promise<T> {
  const startedAt = Date.now();
  for (;;) {
    const seen = await look();
    if (check(seen)) return seen;
    const waitedMs = Date.now() - startedAt;
    if (waitedMs > withinMs) throw new Error(`not within ${withinMs} ms; last seen: ${JSON.stringify(seen)}`);
    const pauseMs = Math.min(Math.max(waitedMs / 5, FIRST_PAUSE_MS), LONGEST_PAUSE_MS);
    await new Promise((resolve) => setTimeout(resolve, pauseMs));
  }
}

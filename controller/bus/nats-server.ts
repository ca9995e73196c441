/**
 * nats-server as an unprivileged child of the controller: started with a generated configuration, restarted when it
 * dies, and replaced when a killed controller left one behind.
 */
import { readFileSync } from 'node:fs';
import { chown, mkdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { type ChildProcess, startChild } from '../../shared/exec.js';
import { endsWithin, once, until } from '../../shared/async/wait.js';
import type { Clock } from '../../shared/async/clock.js';
import { NexusError } from '../../shared/errors.js';
import { plainText } from '../../shared/plain-text.js';
import type { Logger } from '../../shared/log.js';
import { isListening } from '../host/listening.js';
import { identify, isAlive } from '../host/process-identity.js';
import type { LogPlace, LogWriters } from '../log/port.js';
import { serverConfig, type Accounts } from './credentials.js';

export interface NatsServerOptions {
  readonly host: string;
  readonly port: number;
  readonly runDir: string;
  readonly accounts: Accounts;
  /** User that the server runs as; undefined: the controller's own. */
  readonly user: { readonly uid: number; readonly gid: number } | undefined;
  readonly clock: Clock;
  readonly log: Logger;
  readonly logs: LogWriters;
}

const READY_TIMEOUT_MS = 10_000;
/** Delay before a dead server starts again; doubled with each failure, up to LONGEST_DELAY_MS. */
const RESTART_DELAY_MS = 200;
const LONGEST_DELAY_MS = 3200;
const STOP_TIMEOUT_MS = 5000;
const POLL_MS = 5;
const PROBE_TIMEOUT_MS = 1000;

export class NatsServer {
  #child: ChildProcess | undefined;
  #stopping = false;
  /** Set while the server starts or waits to start. */
  #isStarting = false;
  /** Failed starts in a row. */
  #failures = 0;
  readonly #folder: string;

  constructor(private readonly options: NatsServerOptions) {
    this.#folder = join(options.runDir, 'nats.d');
  }

  get pid(): number {
    return this.#child?.pid ?? 0;
  }

  get url(): string {
    return `nats://${this.options.host}:${this.options.port}`;
  }

  async start(): Promise<void> {
    const { user, accounts, host, port } = this.options;
    await mkdir(this.#folder, { recursive: true, mode: 0o700 });
    await this.#endPredecessor();
    await writeFile(this.#configFile, await serverConfig(accounts, { host, port, pidFile: this.#pidFile }), {
      mode: 0o600,
    });
    if (user !== undefined) {
      await chown(this.#folder, user.uid, user.gid);
      await chown(this.#configFile, user.uid, user.gid);
    }
    await this.#refuseTakenPort();
    this.#isStarting = true;
    await this.#launch().catch(async (error: unknown) => {
      // The controller's start fails: the server must not restart by itself.
      await this.close();
      throw error;
    });
    this.#isStarting = false;
  }

  /** Kills a server that hangs or did not come back, and starts another. Idempotent meanwhile. */
  replace(): void {
    const child = this.#child;
    if (this.#stopping) return;
    if (child !== undefined && child.pid !== undefined && child.exitCode === null && child.signalCode === null) {
      this.options.log.warn({ pid: child.pid }, 'nats-server does not answer; replacing it');
      child.kill('SIGKILL');
      return;
    }
    this.#relaunch();
  }

  async close(): Promise<void> {
    this.#stopping = true;
    await this.#end(this.#child);
    await this.options.logs.settle(this.#logPlace, true);
  }

  async #end(child: ChildProcess | undefined): Promise<void> {
    if (child === undefined || child.exitCode !== null || child.signalCode !== null) return;
    const ended = once(child, 'exit');
    child.kill('SIGTERM');
    if (await endsWithin(STOP_TIMEOUT_MS, ended)) return;
    child.kill('SIGKILL');
    await ended;
  }

  get #configFile(): string {
    return join(this.#folder, 'nats.conf');
  }

  /** The record is outside nats-server's own folder: the controller ends whatever process it names. */
  get #logPlace(): LogPlace {
    return { path: join(this.#folder, 'nats.log'), record: join(this.options.runDir, 'nats-log.json') };
  }

  get #pidFile(): string {
    return join(this.#folder, 'nats.pid');
  }

  async #launch(): Promise<void> {
    const { user, log, logs } = this.options;
    const output = await logs.open(this.#logPlace, '');
    let child: ChildProcess;
    try {
      if (this.#stopping) return;
      const args = ['-c', this.#configFile];
      // It speaks with nodes: set-user-id programs of the host are nothing for it.
      const [program, words] =
        user === undefined ? ['nats-server', args] : ['setpriv', ['--no-new-privs', '--', 'nats-server', ...args]];
      child = startChild(program, words, {
        // In a session of its own: Ctrl-C in a terminal must reach only the controller, which stops the server in
        // order.
        detached: true,
        cwd: '/',
        stdio: ['ignore', output.output, output.output],
        env: { PATH: process.env['PATH'] },
        ...(user ?? {}),
      });
    } finally {
      output.close();
    }
    this.#child = child;
    child.once('error', (error) => {
      log.error({ err: error }, 'nats-server cannot be started');
    });
    child.once('exit', (code, signal) => {
      if (this.#stopping) return;
      log.warn({ code, signal }, 'nats-server ended; starting it again');
      this.#relaunch();
    });
    await this.#waitReady(child);
    log.info({ pid: child.pid, url: this.url }, 'nats-server is up');
  }

  #relaunch(): void {
    const { clock, log } = this.options;
    if (this.#isStarting) return;
    this.#isStarting = true;
    const delayMs = Math.min(RESTART_DELAY_MS * 2 ** this.#failures, LONGEST_DELAY_MS);
    clock
      .sleep(delayMs)
      .then(() => (this.#stopping ? undefined : this.#launch()))
      .then(
        () => {
          this.#isStarting = false;
          this.#failures = 0;
        },
        (error: unknown) => {
          log.error({ err: error }, 'nats-server did not come back; trying again');
          this.#isStarting = false;
          this.#failures += 1;
          // A start that hangs leaves a process, whose end triggers the next start. Without one, start again here.
          if (this.#child?.kill('SIGKILL') !== true) this.#relaunch();
        },
      );
  }

  async #waitReady(child: ChildProcess): Promise<void> {
    const { host, port, clock, log } = this.options;
    const isReady = async (): Promise<boolean> => {
      if (await isListening(host, port, PROBE_TIMEOUT_MS)) return true;
      if (child.exitCode === null && child.signalCode === null && child.pid !== undefined) return false;
      const said = await this.#lastWords();
      log.error({ said }, 'nats-server ended while it started');
      const message = 'nats-server did not start; its output is in the controller’s log';
      const details = { program: 'nats-server', detail: said };
      throw new NexusError('failed_precondition', message, details, { advice: { key: 'see-doctor' } });
    };
    if (!(await until(isReady, { everyMs: POLL_MS, withinMs: READY_TIMEOUT_MS, clock })))
      throw new NexusError('deadline_exceeded', `nats-server did not listen within ${READY_TIMEOUT_MS} ms`);
  }

  async #lastWords(): Promise<string> {
    await this.options.logs.settle(this.#logPlace);
    const text = await readFile(this.#logPlace.path, 'utf8').catch(() => '');
    return plainText(text.trim().split('\n').at(-1) ?? '');
  }

  async #refuseTakenPort(): Promise<void> {
    const { host, port } = this.options;
    if (!(await isListening(host, port, PROBE_TIMEOUT_MS))) return;
    throw new NexusError(
      'failed_precondition',
      `something else listens on ${host}:${port}; set nats-port to a free port`,
    );
  }

  /**
   * Ends a server that a killed controller left behind: identified by its pid file, and by our configuration among its
   * arguments.
   */
  async #endPredecessor(): Promise<void> {
    const pid = Number(await readFile(this.#pidFile, 'utf8').catch(() => '0'));
    const identity = pid > 0 ? identify(pid) : undefined;
    if (identity === undefined || !commandLine(pid).includes(this.#configFile)) return;
    this.options.log.info({ pid }, 'replacing the nats-server of an earlier controller');
    process.kill(pid, 'SIGKILL');
    const { clock } = this.options;
    if (!(await until(() => !isAlive(identity), { everyMs: POLL_MS, withinMs: STOP_TIMEOUT_MS, clock })))
      throw new NexusError('deadline_exceeded', `nats-server ${pid} of an earlier controller does not end`);
  }
}

function commandLine(pid: number): string[] {
  try {
    return readFileSync(`/proc/${pid}/cmdline`, 'utf8').split('\0');
  } catch {
    return [];
  }
}

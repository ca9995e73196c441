/**
 * The gateway as a child of the controller: started, watched, and stopped in order. If the controller is killed, the
 * gateway lives on and answers 503 until the next controller adopts it, so that a restart costs no connection; a
 * gateway of another build or with other settings is replaced. If it can't run, the status says so, and nothing else
 * stops.
 */
import { createHash } from 'node:crypto';
import { mkdir, readFile, rm, stat } from 'node:fs/promises';
import { isIPv6 } from 'node:net';
import { join } from 'node:path';
import { type ChildProcess, startChild } from '../../shared/exec.js';
import { once, outcome, until } from '../../shared/async/wait.js';
import type { Clock } from '../../shared/async/clock.js';
import { GATEWAY_LOG } from '../../shared/config/instance.js';
import { keyName, SETTING_NAMES, type SettingName, type Settings } from '../../shared/config/settings.js';
import { NexusError } from '../../shared/errors.js';
import { NO_DEBUGGER } from '../../shared/debugger-signal.js';
import type { Logger } from '../../shared/log.js';
import { isListening } from '../host/listening.js';
import { writeSecret } from '../host/secret-file.js';
import { identify, isAlive } from '../host/process-identity.js';
import type { ProcessIdentity } from '../hosting/runtime.js';
import { fatalMessage, GatewayLogFile } from './log-file.js';
import { isHealthy } from './probe.js';

export interface GatewayOptions {
  /** Its bundle. */
  readonly program: string;
  readonly settings: Settings;
  readonly clock: Clock;
  readonly log: Logger;
}

export interface GatewayStatus {
  /** Empty if no gateway is to run. */
  readonly url: string;
  readonly pid: number;
  readonly ready: boolean;
  /** Why it does not run; empty when it does. */
  readonly problem: string;
}

/** Settings that are passed to the gateway, all as flags, so that it needs nothing of the controller's environment. */
const TOLD: readonly SettingName[] = [
  'instance',
  'runtime',
  'stateDir',
  'runDir',
  'serviceUser',
  'logLevel',
  'logMaxMb',
  'logFiles',
  // `gateway` only decides whether there is a gateway.
  ...SETTING_NAMES.filter((name) => name.startsWith('gateway') && name !== 'gateway'),
];
/** A small young generation: network buffers are garbage soon, and collecting them often keeps memory low. */
const NODE_FLAGS = ['--max-semi-space-size=4', NO_DEBUGGER];
const FIRST_BACKOFF_MS = 200;
const MAX_BACKOFF_MS = 30_000;
/** Time between ticks, and while the gateway is to answer soon. */
const PERIOD_MS = 1000;
const START_PERIOD_MS = 200;
/** A gateway that ran for longer had started well: its end restarts the back-off. */
const STEADY_AFTER_MS = 60_000;
/** A gateway that does not answer by then is reported as silent. */
const START_TIMEOUT_MS = 15_000;
/** Added to the time that running requests have to end. */
const STOP_MARGIN_MS = 5000;
const PROBE_TIMEOUT_MS = 1000;
/** Interval of health checks, and the time to answer one: under load an answer may take seconds. */
const HEALTH_PERIOD_MS = 5000;
const HEALTH_TIMEOUT_MS = 5000;
/** Missed health checks in a row that are more than a busy moment. */
const MISSED_ANSWERS = 2;

interface GatewayRecord {
  readonly identity: ProcessIdentity;
  readonly fingerprint: string;
}

export class GatewayProcess {
  readonly #folder: string;
  readonly #log: GatewayLogFile;
  #running: ProcessIdentity | undefined;
  /** Describes how the running gateway ends; undefined if an earlier controller started it. */
  #exit: Promise<string> | undefined;
  #startedAt = 0;
  #isReady = false;
  #nextHealthAt = 0;
  #missed = 0;
  #problem = '';
  #failures = 0;
  #notBefore = 0;
  #isStopping = false;
  #ticking = Promise.resolve();

  constructor(
    private readonly options: GatewayOptions,
    /** Called when the gateway has ended: a tick is due. */
    private readonly onEnd: () => void,
  ) {
    this.#folder = join(options.settings.runDir, 'gateway.d');
    this.#log = new GatewayLogFile(join(options.settings.runDir, GATEWAY_LOG));
  }

  get status(): GatewayStatus {
    if (!this.#isWanted) return { url: '', pid: 0, ready: false, problem: '' };
    const { gatewayTlsCertFile, gatewayHost, gatewayPort } = this.options.settings;
    const url = `${gatewayTlsCertFile === undefined ? 'http' : 'https'}://${hostAndPort(gatewayHost, gatewayPort)}`;
    return { url, pid: this.#running?.pid ?? 0, ready: this.#isReady, problem: this.#problem };
  }

  /**
   * Time until the next tick is due, ms. The end of a gateway that this controller has started is told at once, by
   * `onEnd`.
   */
  get periodMs(): number {
    return this.#isReady || !this.#isWanted ? PERIOD_MS : START_PERIOD_MS;
  }

  /** Starts, checks or replaces the gateway as its settings require. Never fails: problems are in the status. */
  tick(): Promise<void> {
    this.#ticking = this.#ticking.then(() => this.#look());
    return this.#ticking;
  }

  /** Gives running requests time to end. Idempotent; afterwards ticks do nothing. */
  async close(): Promise<void> {
    this.#isStopping = true;
    await this.#ticking;
    const identity = this.#running ?? (await this.#recorded())?.identity;
    this.#running = undefined;
    if (identity !== undefined) await this.#end(identity);
    await rm(this.#recordFile, { force: true });
  }

  get #isWanted(): boolean {
    return this.options.settings.gateway === 'on';
  }

  get #recordFile(): string {
    return join(this.#folder, 'gateway.json');
  }

  async #look(): Promise<void> {
    const { clock, log } = this.options;
    try {
      if (this.#running !== undefined && !isAlive(this.#running)) await this.#ended();
      if (this.#isStopping || clock.monotonic() < this.#notBefore) return;
      if (this.#running === undefined) await this.#begin();
      else if (!this.#isReady) await this.#awaitReady(this.#running);
      else if (clock.monotonic() >= this.#nextHealthAt) await this.#checkHealth(this.#running);
    } catch (error) {
      log.error({ err: error }, 'the gateway cannot be started');
      this.#fail('it cannot be started; see the controller’s log');
    }
  }

  async #begin(): Promise<void> {
    const recorded = await this.#recorded();
    if (recorded !== undefined) {
      if (this.#isWanted && recorded.fingerprint === (await this.#fingerprint())) {
        this.#running = recorded.identity;
        this.#exit = undefined;
        this.#startedAt = this.options.clock.monotonic();
        this.options.log.info({ pid: recorded.identity.pid }, 'adopted the gateway of an earlier controller');
        return;
      }
      // It closes its port at once, and finishes its running requests on its own.
      process.kill(recorded.identity.pid, 'SIGTERM');
      await rm(this.#recordFile, { force: true });
    }
    if (!this.#isWanted) return;
    if (await this.#isTaken()) {
      const { gatewayHost, gatewayPort } = this.options.settings;
      const place = hostAndPort(gatewayHost, gatewayPort);
      this.#fail(`something else listens on ${place}; end that, or set gateway-port to a free port`);
      return;
    }
    await this.#launch();
  }

  async #launch(): Promise<void> {
    const { program, log, clock } = this.options;
    await mkdir(this.#folder, { recursive: true, mode: 0o700 });
    const output = await this.#log.openForNext();
    // Detached, in its own session: it survives the end of the controller's terminal, or a kill of the controller.
    const child = startChild(process.execPath, [...NODE_FLAGS, program, ...this.#arguments()], {
      cwd: '/',
      detached: true,
      stdio: ['ignore', output.fd, output.fd],
      env: { PATH: process.env['PATH'] },
    });
    this.#exit = exitOf(child);
    child.once('exit', this.onEnd);
    await once(child, 'spawn').finally(() => output.close());
    child.unref();
    this.#startedAt = clock.monotonic();
    this.#isReady = false;
    const identity = identify(child.pid ?? 0);
    // It has ended already: the next tick would find no process.
    if (identity === undefined) {
      await this.#ended();
      return;
    }
    this.#running = identity;
    const record: GatewayRecord = { identity, fingerprint: await this.#fingerprint() };
    await writeSecret(this.#recordFile, JSON.stringify(record));
    log.info({ pid: identity.pid, url: this.status.url }, 'the gateway is starting');
  }

  async #awaitReady({ pid }: ProcessIdentity): Promise<void> {
    const { clock, log } = this.options;
    if (await isHealthy(this.status.url, HEALTH_TIMEOUT_MS)) {
      this.#isReady = true;
      this.#missed = 0;
      this.#nextHealthAt = clock.monotonic() + HEALTH_PERIOD_MS;
      this.#problem = '';
      log.info({ pid, url: this.status.url }, 'the gateway answers');
    } else if (clock.monotonic() - this.#startedAt > START_TIMEOUT_MS) {
      this.#problem = silentGateway(pid, this.#log.path);
    }
  }

  /** Detects a gateway that hangs, which no exit would report. */
  async #checkHealth({ pid }: ProcessIdentity): Promise<void> {
    const { clock, log } = this.options;
    this.#missed = (await isHealthy(this.status.url, HEALTH_TIMEOUT_MS)) ? 0 : this.#missed + 1;
    this.#nextHealthAt = clock.monotonic() + HEALTH_PERIOD_MS;
    if (this.#missed < MISSED_ANSWERS) return;
    this.#isReady = false;
    this.#problem = silentGateway(pid, this.#log.path);
    log.warn({ pid }, 'the gateway does not answer any more');
  }

  async #ended(): Promise<void> {
    const { clock, log } = this.options;
    if (clock.monotonic() - this.#startedAt > STEADY_AFTER_MS) this.#failures = 0;
    const pid = this.#running?.pid;
    this.#running = undefined;
    this.#isReady = false;
    const exit = (await this.#exit) ?? 'not known: an earlier controller had started it';
    const lastLines = await this.#log.lastLines();
    const again = this.#fail(fatalMessage(lastLines) ?? endedGateway(exit, this.#log.path));
    log.warn({ pid, exit, lastLines }, `the gateway ended; it is started again in ${again} ms`);
  }

  /** True if anything listens on the gateway's port. */
  #isTaken(): Promise<boolean> {
    const { gatewayHost, gatewayPort } = this.options.settings;
    return isListening(gatewayHost, gatewayPort, PROBE_TIMEOUT_MS);
  }

  /** Notes the problem and returns the back-off in ms before the next try. */
  #fail(problem: string): number {
    const backoff = Math.min(MAX_BACKOFF_MS, FIRST_BACKOFF_MS * 2 ** this.#failures);
    this.#failures += 1;
    this.#notBefore = this.options.clock.monotonic() + backoff;
    this.#problem = problem;
    return backoff;
  }

  #arguments(): string[] {
    const { settings } = this.options;
    return TOLD.flatMap((name) => {
      const value = settings[name];
      return value === undefined ? [] : [`--${keyName(name)}`, String(value)];
    });
  }

  /** Hash of the build and of all flags of the gateway; a running gateway with another one is replaced. */
  async #fingerprint(): Promise<string> {
    const { mtimeMs } = await stat(this.options.program);
    return createHash('sha256')
      .update(JSON.stringify([this.options.program, mtimeMs, this.#arguments()]))
      .digest('hex');
  }

  /** The gateway of an earlier controller, if it still runs. The record is root's, not writable for the gateway. */
  async #recorded(): Promise<GatewayRecord | undefined> {
    const text = await readFile(this.#recordFile, 'utf8').catch(() => '');
    if (text === '') return undefined;
    try {
      const record = JSON.parse(text) as GatewayRecord;
      return isAlive(record.identity) ? record : undefined;
    } catch {
      // The controller that wrote it ended midway.
      return undefined;
    }
  }

  async #end(identity: ProcessIdentity): Promise<void> {
    const { clock, settings } = this.options;
    const ends = [
      ['SIGTERM', settings.gatewayDrainMs + STOP_MARGIN_MS],
      ['SIGKILL', STOP_MARGIN_MS],
    ] as const;
    for (const [signal, withinMs] of ends) {
      if (isAlive(identity)) process.kill(identity.pid, signal);
      if (await until(() => !isAlive(identity), { everyMs: 5, withinMs, clock })) return;
    }
    throw new NexusError('deadline_exceeded', `gateway ${identity.pid} does not end, not even when it is killed`);
  }
}

/** Text of the status and its warning about a gateway that does not answer. */
export const silentGateway = (pid: number, log: string): string =>
  `process ${pid} does not answer; see ${log}, or end it with kill -9 ${pid}: it is started again`;

/** The same for a gateway that ended without a message of its own. */
export const endedGateway = (exit: string, log: string): string => `it ended (${exit}); see ${log}`;

const hostAndPort = (host: string, port: number): string => `${isIPv6(host) ? `[${host}]` : host}:${port}`;

const exitOf = (child: ChildProcess): Promise<string> =>
  outcome((resolve) => {
    child.once('exit', (code, signal) => {
      resolve(signal === null ? `exit code ${code ?? 0}` : `signal ${signal}`);
    });
    return undefined;
  });

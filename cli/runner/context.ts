/**
 * The environment of a running command: settings, the controller, printing, and the signal that Ctrl-C aborts. Opened
 * once per command line and disposed of at its end, whatever the outcome.
 */
import { NexusError } from '../../shared/errors.js';
import { readSettingsPipe } from '../../shared/config/sources.js';
import type { SettingName, Settings } from '../../shared/config/settings.js';
import type { Controller } from '../connect/connection.js';
import { Interrupts } from '../terminal/interrupts.js';
import { type OutputFormat, type Streams, writeTo } from '../terminal/streams.js';
import { assertLocal, choosePlace, sessionFor, type Place } from '../connect/place.js';
import { locateInstance, type Target } from '../connect/target.js';
import { visibleLines } from '../terminal/visible.js';

export interface ContextOptions {
  readonly instance: string | undefined;
  readonly config: string | undefined;
  /** The user for whom the administrator acts. */
  readonly asUser: string | undefined;
  /** URL of the gateway to go through. */
  readonly url: string | undefined;
  /** Selects this machine's cluster, wherever the user is logged in. */
  readonly local: boolean;
  readonly output: OutputFormat;
  /** The whole command line, in case it has to be run again as root. */
  readonly argv: readonly string[];
}

/** A child process carried out the command (sudo, a foreground controller); only its exit code is left to pass on. */
export class ReplacedByChild extends Error {
  constructor(readonly exitCode: number) {
    super('run by a child process');
  }
}

export class Context implements AsyncDisposable {
  readonly interrupts: Interrupts;
  #place: Place | undefined;
  #target: Target | undefined;
  #configText: string | undefined;
  #controller: Controller | undefined;

  constructor(
    readonly options: ContextOptions,
    readonly streams: Streams,
  ) {
    this.interrupts = new Interrupts(streams.env);
  }

  /** Aborted by Ctrl-C, SIGTERM and SIGHUP. */
  get signal(): AbortSignal {
    return this.interrupts.signal;
  }

  get output(): OutputFormat {
    return this.options.output;
  }

  get settings(): Settings {
    return this.target().settings;
  }

  /** Where the command goes: to this machine's cluster, or through a gateway. Codes: those of choosePlace. */
  get place(): Place {
    return (this.#place ??= choosePlace(this.options, this.streams.env));
  }

  /** Reads the settings file if it is a pipe, which gives its text once and may block. Throws what ends the wait. */
  async readConfigPipe(): Promise<void> {
    const path = this.options.config ?? this.streams.env['NEXUS_CONFIG'];
    if (path !== undefined && path !== '') this.#configText = await readSettingsPipe(path, this.signal);
  }

  /**
   * Finds this machine's instance and whether this user may reach it. `flags` are settings that the command itself
   * takes. Code: failed_precondition (the command goes through a gateway).
   */
  target(flags: Partial<Record<SettingName, string>> = {}): Target {
    assertLocal(this.place);
    this.#target ??= locateInstance({
      flags: { ...flags, ...(this.options.instance === undefined ? {} : { instance: this.options.instance }) },
      file: this.options.config,
      text: this.#configText,
      env: this.streams.env,
    });
    return this.#target;
  }

  /**
   * Connects to the running controller. Codes: unavailable (not running), permission_denied (needs root, and sudo can't
   * help), unauthenticated (through a gateway, without a login).
   */
  async connect(): Promise<Controller> {
    this.#controller ??= await this.#open();
    return this.#controller;
  }

  async #open(): Promise<Controller> {
    if (this.place.kind === 'gateway') {
      const { url, token, ca_file: caFile } = sessionFor(this.place.url, this.streams.env);
      const { openGateway } = await import('../connect/gateway-connection.js');
      return await openGateway({ url, token, caFile }, this.signal);
    }
    await this.becomeRootIfNeeded();
    const { openController } = await import('../connect/connection.js');
    return await openController(this.settings, this.signal, this.options.asUser);
  }

  /** Runs the same command line through sudo when the target belongs to root and the caller is not root. */
  async becomeRootIfNeeded(): Promise<void> {
    if (!this.target().needsRoot) return;
    const { runAsRoot } = await import('../connect/elevate.js');
    throw new ReplacedByChild(await runAsRoot(this.options.argv, this.streams));
  }

  /** Prints a result: as JSON or YAML if requested, otherwise as the text from `asText`. */
  async print<T>(value: T, asText: (value: T) => string | Promise<string>): Promise<void> {
    const { render } = await import('../terminal/output.js');
    const text = this.output === 'table' ? visibleLines(await asText(value)) : render(value, this.output);
    if (text !== '') await writeTo(this.streams.stdout, `${text}\n`);
  }

  /** Informs a waiting person, on standard error: standard output is for results. */
  note(text: string): void {
    this.streams.stderr.write(visibleLines(`${text}\n`));
  }

  /** Throws `cancelled` if Ctrl-C has been pressed. */
  throwIfInterrupted(): void {
    if (this.signal.aborted) throw new NexusError('cancelled', 'interrupted');
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.interrupts[Symbol.dispose]();
    await this.#controller?.close();
  }
}

export const openContext = (options: ContextOptions, streams: Streams): Context => new Context(options, streams);

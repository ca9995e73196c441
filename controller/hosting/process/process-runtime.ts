/**
 * One plain agent process per node, for hosts without root. No isolation and no limits but the volume's, which the
 * agent counts itself. A node's process is known by pid and start time, kept in <run>/<id>/process.json.
 */
import { randomBytes } from 'node:crypto';
import { writeFileSync } from 'node:fs';
import { access, mkdir, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { type ChildProcess, startChild } from '../../../shared/exec.js';
import { once, until } from '../../../shared/async/wait.js';
import { NO_DEBUGGER } from '../../../shared/debugger-signal.js';
import { NexusError } from '../../../shared/errors.js';
import { isNodeId, type NodeId } from '../../../shared/ids.js';
import type { ContainerRuntime, ContainerSpec, ExecHandle, ExecSpec, ProcessIdentity } from '../runtime.js';
import { asksToEnd, endGroups, send } from '../end-commands.js';
import { identify, identifyChild, identityIn, isAlive } from '../../host/process-identity.js';
import { pipedHandle } from '../piped-exec.js';
import { noProgram, notExecutable, type StartFailure } from '../start-failure.js';

export interface ProcessRuntimeOptions {
  readonly runDir: string;
  /** The agent's bundle. */
  readonly agentScript: string;
}

/**
 * Record in <run>/<id>/exec-<tag>-<n>.json, as long as the command or processes that it left run. Those of earlier
 * versions are called background-... once the command has ended.
 */
interface RecordedCommand extends ProcessIdentity {
  readonly args: readonly string[];
}

/**
 * A plain process can't be held before its first instruction. So a shell waits for a line on its standard input and
 * then becomes the agent, with the same pid and start time; if the controller ends before, so does the shell.
 */
const HOLD = 'read -r go && exec "$@" < /dev/null';
const IDENTITY_FILE = 'process.json';
const DEATH_TIMEOUT_MS = 5000;

/** The kernel does not reuse the number while the group has processes; a reused one differs in its start time. */
function hasGroup(first: ProcessIdentity): boolean {
  if (identify(first.pid) !== undefined) return isAlive(first);
  try {
    return process.kill(-first.pid, 0);
  } catch {
    return false;
  }
}

export class ProcessRuntime implements ContainerRuntime {
  readonly caveats = [
    'the process runtime isolates nothing: nodes share the host, and --mem, --cpu and images have no effect',
  ];
  readonly #volumes = new Map<NodeId, string>();
  /** Created and not yet started. */
  readonly #held = new Map<NodeId, ChildProcess>();
  readonly #execs = new Map<NodeId, Set<ExecHandle>>();
  /** Distinguishes commands of this controller from those of an earlier one. */
  readonly #tag = randomBytes(4).toString('hex');
  #commands = 0;

  constructor(private readonly options: ProcessRuntimeOptions) {}

  async prepare(): Promise<void> {
    await readFile(this.options.agentScript).catch((error: unknown) => {
      throw new NexusError(
        'failed_precondition',
        `no agent at ${this.options.agentScript}; run npm run build`,
        {},
        { cause: error },
      );
    });
  }

  isWaiting(): boolean {
    throw new TypeError('this kind of hosting has no spares');
  }

  assign(): Promise<void> {
    throw new TypeError('this kind of hosting has no spares');
  }

  async create(spec: ContainerSpec): Promise<ProcessIdentity> {
    await mkdir(this.#nodeDir(spec.nodeId), { recursive: true, mode: 0o700 });
    const agent = [process.execPath, NO_DEBUGGER, this.options.agentScript];
    const child = startChild('/bin/sh', ['-c', HOLD, 'sh', ...agent], {
      detached: true,
      stdio: ['pipe', spec.output, spec.output],
      cwd: spec.volumePath,
      env: { PATH: process.env['PATH'], NEXUS_AGENT_CONFIG: join(spec.configDir, 'agent.json') },
    });
    child.unref();
    // The shell may have ended before it is released; its identity shows that.
    child.stdin?.on('error', () => undefined);
    await once(child, 'spawn');
    const identity = identify(child.pid ?? 0);
    if (identity === undefined) {
      const advice = { key: 'see-node-logs', node: spec.nodeId } as const;
      throw new NexusError('internal', 'the agent ended at once', {}, { advice });
    }
    await writeFile(this.#identityFile(spec.nodeId), JSON.stringify(identity));
    this.#volumes.set(spec.nodeId, spec.volumePath);
    this.#held.set(spec.nodeId, child);
    return identity;
  }

  async start(nodeId: NodeId): Promise<void> {
    await this.#expectAlive(nodeId);
    this.#held.get(nodeId)?.stdin?.end('\n');
    this.#held.delete(nodeId);
  }

  async kill(_nodeId: NodeId, identity: ProcessIdentity): Promise<void> {
    if (isAlive(identity)) process.kill(identity.pid, 'SIGKILL');
    if (!(await until(() => !isAlive(identity), { everyMs: 5, withinMs: DEATH_TIMEOUT_MS })))
      throw new NexusError('deadline_exceeded', `process ${identity.pid} did not end`);
  }

  async remove(nodeId: NodeId): Promise<void> {
    const identity = await this.#identity(nodeId);
    if (identity !== undefined) await this.kill(nodeId, identity);
    for (const handle of this.#execs.get(nodeId) ?? []) await handle.kill();
    for (const name of await this.#records(nodeId)) {
      for (const group of await this.#processes(nodeId, name)) send(group, 'SIGKILL');
      await rm(join(this.#nodeDir(nodeId), name), { force: true });
    }
    this.#held.get(nodeId)?.stdin?.destroy();
    this.#held.delete(nodeId);
    this.#volumes.delete(nodeId);
    await rm(this.#identityFile(nodeId), { force: true });
  }

  update(): Promise<void> {
    return Promise.reject(
      new NexusError('failed_precondition', 'the process runtime has no limits to change; use the runc runtime'),
    );
  }

  async list(): Promise<readonly NodeId[]> {
    const names: string[] = await readdir(this.options.runDir).catch(() => []);
    const found = await Promise.all(
      names.filter(isNodeId).map(async (id) => {
        const isThere = await access(this.#identityFile(id)).then(
          () => true,
          () => false,
        );
        return isThere ? [id] : [];
      }),
    );
    return found.flat();
  }

  /** Runs beside the node with the controller's rights and the node's folder as working directory. */
  async exec(nodeId: NodeId, spec: ExecSpec): Promise<ExecHandle> {
    if (spec.tty) {
      throw new NexusError('failed_precondition', 'the process runtime has no terminals; leave -t out');
    }
    await this.#expectAlive(nodeId);
    const [program = '', ...args] = spec.command;
    const child = startChild(program, args, {
      detached: true,
      stdio: ['pipe', 'pipe', 'pipe'],
      cwd: this.#volumes.get(nodeId) ?? this.#nodeDir(nodeId),
      env: { PATH: process.env['PATH'], ...spec.env },
    });
    const group = -(child.pid ?? 0);
    let wasAsked = false;
    const kill = (): Promise<void> => {
      if (group !== 0) send(group, 'SIGKILL');
      return Promise.resolve();
    };
    const signal = (name: string): void => {
      const given = `SIG${name}` as NodeJS.Signals;
      child.kill(given);
      if (!asksToEnd(given)) return;
      wasAsked = true;
      // A stopped process would not receive the signal.
      child.kill('SIGCONT');
    };
    let refusal: NodeJS.ErrnoException | undefined;
    child.once('error', (error) => (refusal = error));
    const atEnd = async (): Promise<StartFailure | undefined> => {
      if (wasAsked) await kill();
      if (refusal === undefined) return undefined;
      return refusal.code === 'ENOENT' ? noProgram(spec) : notExecutable(spec);
    };
    const handle = pipedHandle(child, atEnd, { kill, signal });
    this.#remember(nodeId, handle);
    this.#record(nodeId, child.pid, spec, handle.exited);
    return handle;
  }

  /** Tracks a command until it ends, so that removing its node ends it, too. */
  #remember(nodeId: NodeId, handle: ExecHandle): void {
    const handles = this.#execs.get(nodeId) ?? new Set();
    this.#execs.set(nodeId, handles.add(handle));
    void handle.exited.then(() => {
      handles.delete(handle);
      if (handles.size === 0) this.#execs.delete(nodeId);
    });
  }

  /**
   * Records the command for the next controller, in case this one ends first. Synchronous: the caller must get its
   * handle at once, or it may miss output.
   */
  #record(nodeId: NodeId, pid: number | undefined, spec: ExecSpec, exited: Promise<number>): void {
    // A short command may have ended by now, and have left processes running.
    const identity = identifyChild(pid ?? 0);
    if (identity === undefined) return;
    this.#commands += 1;
    const file = join(this.#nodeDir(nodeId), `exec-${this.#tag}-${this.#commands}.json`);
    writeFileSync(file, JSON.stringify({ ...identity, args: spec.command }), { mode: 0o600 });
    // Kept while the command has left processes running. The node may be gone, and the record with it.
    void exited.then(() => (hasGroup(identity) ? undefined : rm(file))).catch(() => undefined);
  }

  async endCommands(nodeId: NodeId, graceMs: number, which: 'all' | 'orphaned' = 'all'): Promise<readonly string[]> {
    // Processes that an ended command left running belong to the node, whichever controller started it.
    const isOrphan = async (name: string): Promise<boolean> => {
      const found = name.startsWith(`exec-${this.#tag}-`) ? undefined : await this.#recorded(nodeId, name);
      return found !== undefined && isAlive(found);
    };
    const list = async (): Promise<string[]> => {
      const names = await this.#records(nodeId);
      if (which === 'all') return names;
      const orphaned = await Promise.all(names.map(isOrphan));
      return names.filter((_, at) => orphaned[at]);
    };
    const processes = (name: string): Promise<number[]> => this.#processes(nodeId, name);
    const describe = async (name: string): Promise<string> =>
      (await this.#recorded(nodeId, name))?.args.join(' ') ?? name;
    return await endGroups({ list, processes, describe }, graceMs);
  }

  /** Lists the records of running commands, and of processes that ended commands left running. */
  async #records(nodeId: NodeId): Promise<string[]> {
    const names: string[] = await readdir(this.#nodeDir(nodeId)).catch(() => []);
    return names.filter((name) => /^(exec|background)-/.test(name));
  }

  async #recorded(nodeId: NodeId, name: string): Promise<RecordedCommand | undefined> {
    const text = await readFile(join(this.#nodeDir(nodeId), name), 'utf8').catch(() => undefined);
    return text === undefined ? undefined : (identityIn(text) as RecordedCommand | undefined);
  }

  /**
   * Returns the command's process group, of which the command is the first process; removes the record of an ended one.
   */
  async #processes(nodeId: NodeId, name: string): Promise<number[]> {
    const found = await this.#recorded(nodeId, name);
    if (found !== undefined && hasGroup(found)) return [-found.pid];
    await rm(join(this.#nodeDir(nodeId), name), { force: true });
    return [];
  }

  wasOutOfMemory(): Promise<boolean> {
    return Promise.resolve(false);
  }

  destroy(): Promise<void> {
    return Promise.resolve();
  }

  #nodeDir(nodeId: NodeId): string {
    return join(this.options.runDir, nodeId);
  }

  #identityFile(nodeId: NodeId): string {
    return join(this.#nodeDir(nodeId), IDENTITY_FILE);
  }

  async #expectAlive(nodeId: NodeId): Promise<void> {
    if ((await this.#identity(nodeId)) === undefined)
      throw new NexusError('not_found', `node ${nodeId} has no process`);
  }

  /** Identity of the node's process; undefined unless it is alive. */
  async #identity(nodeId: NodeId): Promise<ProcessIdentity | undefined> {
    const text = await readFile(this.#identityFile(nodeId), 'utf8').catch(() => undefined);
    if (text === undefined) return undefined;
    const identity = identityIn(text);
    return identity !== undefined && isAlive(identity) ? identity : undefined;
  }
}

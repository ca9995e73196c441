/**
 * One plain agent process per node, for hosts without root. No isolation and no limits but the volume's, which the
 * agent counts itself. A node's process is known by pid and start time, kept in <run>/<id>/process.json.
 */
import { spawn } from 'node:child_process';
import { mkdir, open, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { exitCodeOf } from '../../shared/exec.js';
import { NexusError } from '../../shared/errors.js';
import { isNodeId, type NodeId } from '../../shared/ids.js';
import type { ContainerRuntime, ContainerSpec, ExecHandle, ExecSpec, ProcessIdentity } from './port.js';
import { identify, isAlive } from '../host/process-identity.js';
import { pipedHandle } from './piped-exec.js';

export interface ProcessRuntimeOptions {
  readonly runDir: string;
  /** The agent's bundle. */
  readonly agentScript: string;
}

const IDENTITY_FILE = 'process.json';
const DEATH_TIMEOUT_MS = 5000;

export class ProcessRuntime implements ContainerRuntime {
  readonly agentCgroup = 'none';
  readonly caveats = [
    'the process runtime isolates nothing: nodes share the host, and --mem, --cpu and images have no effect',
  ];
  readonly #prepared = new Map<NodeId, ContainerSpec>();

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

  /** A plain process can't be held before its first instruction, so it is started here; `start` only confirms it. */
  async create(spec: ContainerSpec): Promise<ProcessIdentity> {
    await mkdir(this.#nodeDir(spec.nodeId), { recursive: true, mode: 0o700 });
    const log = await open(spec.logPath, 'a', 0o600);
    try {
      const child = spawn(process.execPath, ['--max-semi-space-size=1', this.options.agentScript], {
        detached: true,
        stdio: ['ignore', log.fd, log.fd],
        cwd: spec.volumePath,
        env: { PATH: process.env['PATH'], NEXUS_AGENT_CONFIG: join(spec.configDir, 'agent.json') },
      });
      child.unref();
      await new Promise((resolve, reject) => {
        child.once('spawn', resolve);
        child.once('error', reject);
      });
      const identity = identify(child.pid ?? 0);
      if (identity === undefined) throw new NexusError('internal', 'the agent ended at once; see nexus node logs');
      await writeFile(join(this.#nodeDir(spec.nodeId), IDENTITY_FILE), JSON.stringify(identity));
      this.#prepared.set(spec.nodeId, spec);
      return identity;
    } finally {
      await log.close();
    }
  }

  async start(nodeId: NodeId): Promise<void> {
    if ((await this.#identity(nodeId)) === undefined)
      throw new NexusError('not_found', `node ${nodeId} has no process`);
  }

  async kill(_nodeId: NodeId, identity: ProcessIdentity): Promise<void> {
    if (isAlive(identity)) process.kill(identity.pid, 'SIGKILL');
    const deadline = performance.now() + DEATH_TIMEOUT_MS;
    while (isAlive(identity)) {
      if (performance.now() > deadline)
        throw new NexusError('deadline_exceeded', `process ${identity.pid} did not end`);
      await new Promise((resolve) => setTimeout(resolve, 5));
    }
  }

  async remove(nodeId: NodeId): Promise<void> {
    const identity = await this.#identity(nodeId);
    if (identity !== undefined) await this.kill(nodeId, identity);
    this.#prepared.delete(nodeId);
    await rm(join(this.#nodeDir(nodeId), IDENTITY_FILE), { force: true });
  }

  update(): Promise<void> {
    return Promise.reject(
      new NexusError('failed_precondition', 'the process runtime has no limits to change; use the runc runtime'),
    );
  }

  async list(): Promise<readonly NodeId[]> {
    const names: string[] = await readdir(this.options.runDir).catch(() => []);
    const identities = await Promise.all(
      names.filter(isNodeId).map(async (id) => [id, await this.#identity(id)] as const),
    );
    return identities.filter(([, identity]) => identity !== undefined).map(([id]) => id);
  }

  /** Runs beside the node with the controller's rights and the node's folder as working directory. */
  exec(nodeId: NodeId, spec: ExecSpec): Promise<ExecHandle> {
    if (spec.tty) {
      return Promise.reject(
        new NexusError('failed_precondition', 'the process runtime has no terminals; leave -t out'),
      );
    }
    const [program = '', ...args] = spec.command;
    const child = spawn(program, args, {
      detached: true,
      stdio: ['pipe', 'pipe', 'pipe'],
      cwd: this.#prepared.get(nodeId)?.volumePath ?? this.#nodeDir(nodeId),
      env: { PATH: process.env['PATH'], ...spec.env },
    });
    const exited = new Promise<number>((resolve) => {
      child.once('error', () => {
        resolve(127);
      });
      child.once('close', (code, signal) => {
        resolve(exitCodeOf(code, signal));
      });
    });
    const killGroup = (): Promise<void> => {
      if (child.exitCode === null && child.pid !== undefined) process.kill(-child.pid, 'SIGKILL');
      return Promise.resolve();
    };
    return Promise.resolve(pipedHandle(child, exited, killGroup));
  }

  wasOutOfMemory(): Promise<boolean> {
    return Promise.resolve(false);
  }

  dispose(): Promise<void> {
    return Promise.resolve();
  }

  #nodeDir(nodeId: NodeId): string {
    return join(this.options.runDir, nodeId);
  }

  async #identity(nodeId: NodeId): Promise<ProcessIdentity | undefined> {
    const text = await readFile(join(this.#nodeDir(nodeId), IDENTITY_FILE), 'utf8').catch(() => undefined);
    if (text === undefined) return undefined;
    const identity = JSON.parse(text) as ProcessIdentity;
    return isAlive(identity) ? identity : undefined;
  }
}

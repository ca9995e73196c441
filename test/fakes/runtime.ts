/**
 * Containers in memory. Behind each stands a sleeping process, so that its identity is as alive or dead to anybody who
 * looks as the container is. Scriptable: see FakeScript; calls are named `runtime.*`. `dispose` ends all processes.
 */
import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { NexusError } from '../../shared/errors.js';
import { FakeScript } from './script.js';
import type { NodeId } from '../../shared/ids.js';
import { identify } from '../../controller/host/process-identity.js';
import { FakeExec, type FakeProgram } from './exec.js';
import type {
  ContainerLimits,
  ContainerRuntime,
  ContainerSpec,
  ExecHandle,
  ExecSpec,
  ProcessIdentity,
} from '../../controller/hosting/runtime.js';
import { noProgram } from '../../controller/hosting/start-failure.js';

export interface FakeContainer {
  readonly spec: ContainerSpec;
  readonly identity: ProcessIdentity;
  readonly child: ChildProcess;
  readonly execs: Set<FakeExec>;
  limits: ContainerLimits;
  hasStarted: boolean;
  wasOutOfMemory: boolean;
}

const absent: FakeProgram = async ({ spec, say }) => {
  const { exitCode, words } = noProgram(spec);
  await say('stderr', `${words}\n`);
  return exitCode;
};

/** Longer than any test; a test run that dies leaves its processes for no longer than this. */
const STAND_IN_SECONDS = 300;

export class FakeRuntime implements ContainerRuntime {
  readonly caveats = [];
  readonly containers = new Map<NodeId, FakeContainer>();
  /** By the whole command line; anything else is not there. */
  readonly programs = new Map<string, FakeProgram>();
  /** Called when a container has been made: it holds its volume from then on. */
  onCreate: (nodeId: NodeId) => void = () => undefined;
  /** Called when a container's agent is told to run: it may be heard from then on. */
  onStart: (nodeId: NodeId) => void = () => undefined;
  /** Called when a container that waits is made a certain node's. */
  onAssign: (nodeId: NodeId) => void = () => undefined;
  /** Called when a container's first process has ended, however: what it held is free from then on. */
  onEnd: (nodeId: NodeId) => void = () => undefined;
  /** Set: `prepare` refuses the host. */
  hostIsUnfit = false;

  constructor(readonly script = new FakeScript()) {}

  /** The container's first process ends by itself, or (`outOfMemory`) by the kernel's hand. */
  async end(nodeId: NodeId, how: { readonly outOfMemory?: boolean } = {}): Promise<void> {
    const container = this.#expect(nodeId);
    container.wasOutOfMemory = how.outOfMemory ?? false;
    await endProcess(container);
  }

  prepare(): Promise<void> {
    return this.script.run('runtime.prepare', '', () => {
      if (this.hostIsUnfit) throw new NexusError('failed_precondition', 'this host cannot run containers');
    });
  }

  create(spec: ContainerSpec, signal: AbortSignal): Promise<ProcessIdentity> {
    return this.script.run('runtime.create', spec.nodeId, async () => {
      if (signal.aborted) throw new NexusError('cancelled', 'making the container was cancelled');
      if (this.containers.has(spec.nodeId)) throw new NexusError('internal', `${spec.nodeId} has a container`);
      const child = spawn('sleep', [String(STAND_IN_SECONDS)], { stdio: 'ignore' });
      child.unref();
      child.once('exit', () => {
        this.onEnd(spec.nodeId);
      });
      await once(child, 'spawn');
      const identity = identify(child.pid ?? 0);
      if (identity === undefined) throw new NexusError('internal', 'the container ended before it was started');
      const state = { limits: spec.limits, hasStarted: false, wasOutOfMemory: false, execs: new Set<FakeExec>() };
      this.containers.set(spec.nodeId, { spec, identity, child, ...state });
      this.onCreate(spec.nodeId);
      return identity;
    });
  }

  start(nodeId: NodeId, signal: AbortSignal): Promise<void> {
    return this.script.run('runtime.start', nodeId, () => {
      if (signal.aborted) throw new NexusError('cancelled', 'starting the container was cancelled');
      this.#expect(nodeId).hasStarted = true;
      this.onStart(nodeId);
    });
  }

  isWaiting(first: ProcessIdentity): boolean {
    const waiting = [...this.containers.values()].find(({ identity }) => identity.pid === first.pid);
    return waiting?.hasStarted === false;
  }

  assign(_first: ProcessIdentity, spec: Pick<ContainerSpec, 'nodeId' | 'hostname' | 'limits'>): Promise<void> {
    return this.script.run('runtime.assign', spec.nodeId, () => {
      this.#expect(spec.nodeId).limits = spec.limits;
      this.onAssign(spec.nodeId);
    });
  }

  kill(nodeId: NodeId, identity: ProcessIdentity): Promise<void> {
    return this.script.run('runtime.kill', nodeId, async () => {
      const container = this.containers.get(nodeId);
      const isMeant = container?.identity.pid === identity.pid && container.identity.startTicks === identity.startTicks;
      if (isMeant) await endProcess(container);
    });
  }

  remove(nodeId: NodeId): Promise<void> {
    return this.script.run('runtime.remove', nodeId, async () => {
      const container = this.containers.get(nodeId);
      if (container === undefined) return;
      await endProcess(container);
      this.containers.delete(nodeId);
    });
  }

  update(nodeId: NodeId, limits: ContainerLimits): Promise<void> {
    return this.script.run('runtime.update', nodeId, () => {
      this.#expect(nodeId).limits = limits;
    });
  }

  list(): Promise<readonly NodeId[]> {
    return this.script.run('runtime.list', '', () => [...this.containers.keys()]);
  }

  exec(nodeId: NodeId, spec: ExecSpec): Promise<ExecHandle> {
    return this.script.run('runtime.exec', nodeId, () => {
      const { execs } = this.#expect(nodeId);
      const handle = new FakeExec(this.programs.get(spec.command.join(' ')) ?? absent, spec);
      execs.add(handle);
      void handle.exited.then(() => execs.delete(handle));
      return handle;
    });
  }

  endCommands(nodeId: NodeId, _graceMs: number, which: 'all' | 'orphaned' = 'all'): Promise<readonly string[]> {
    return this.script.run('runtime.endCommands', nodeId, async () => {
      const execs = which === 'all' ? [...(this.containers.get(nodeId)?.execs ?? [])] : [];
      for (const handle of execs) {
        handle.signal('TERM');
        await handle.exited;
      }
      return execs.map((handle) => handle.command);
    });
  }

  wasOutOfMemory(nodeId: NodeId): Promise<boolean> {
    return this.script.run(
      'runtime.wasOutOfMemory',
      nodeId,
      () => this.containers.get(nodeId)?.wasOutOfMemory ?? false,
    );
  }

  destroy(): Promise<void> {
    return this.script.run('runtime.dispose', '', async () => {
      for (const container of this.containers.values()) await endProcess(container);
      this.containers.clear();
    });
  }

  #expect(nodeId: NodeId): FakeContainer {
    const container = this.containers.get(nodeId);
    if (container === undefined) throw new NexusError('not_found', `node ${nodeId} has no container`);
    return container;
  }
}

async function endProcess({ child, execs }: FakeContainer): Promise<void> {
  for (const handle of execs) await handle.kill();
  if (child.exitCode !== null || child.signalCode !== null) return;
  const ended = once(child, 'exit');
  child.ref();
  child.kill('SIGKILL');
  await ended;
}

/**
 * Containers through the command line of an OCI runtime: runc or another of programs.ts. They run detached: after `start` nothing of the
 * controller is needed to keep one alive. The program's own state lies in <run>/<program>.state, the bundle in
 * <run>/<id>/bundle; the node's cgroup is /<parent>/<id>.
 */
import { access, chmod, mkdir, open, readdir, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { constants, existsSync, readSync } from 'node:fs';
import { randomBytes } from 'node:crypto';
import { basename, dirname, join } from 'node:path';
import { endsWithin, once, until } from '../../../shared/async/wait.js';
import { WAKE_SIGNAL } from '../../../shared/config/agent-config.js';
import { NexusError } from '../../../shared/errors.js';
import { notStarted, runCommand, startChild, tryCommand } from '../../../shared/exec.js';
import { isNodeId, type NodeId } from '../../../shared/ids.js';
import { plainText } from '../../../shared/plain-text.js';
import { toolFailure } from '../../../shared/tool-failure.js';
import { IN_NODE, ociConfig, ociDiagnosis, ociExecProcess, STAGE_MOUNT_POINTS } from './bundle.js';
import { CgroupTree, COMMANDS } from './cgroup.js';
import { assembleNode } from './node-stage.js';
import { endGroups } from '../end-commands.js';
import { memoryShares } from './memory-shares.js';
import type {
  ContainerLimits,
  ContainerRuntime,
  ContainerSpec,
  ExecHandle,
  ExecSpec,
  ProcessIdentity,
} from '../runtime.js';
import { identify, isAlive, ownOomScore } from '../../host/process-identity.js';
import { killAll, spawnExec } from './oci-exec.js';
import { layoutFor, logTo, type OciProgram } from './programs.js';
import { EXEC_FAILED, failureIn, lastEntry, notBegun } from '../start-failure.js';

export interface OciOptions {
  readonly program: OciProgram;
  readonly runDir: string;
  readonly cgroupParent: string;
  /** The agent runtime folder that is bound into every node. */
  readonly runtimeDir: string;
  /** The program that node-stage.c was compiled to. */
  readonly stageProgram: string;
  /** How long a command may take to begin. Default 20 s. */
  readonly commandBeginMs?: number;
}

const CREATE_TIMEOUT_MS = 20_000;
const BEGIN_TIMEOUT_MS = 10_000;
const COMMAND_BEGIN_MS = 20_000;
/**
 * The kernel ends a pid namespace within milliseconds of its first process; longer means an uninterruptible disk wait.
 */
const DEATH_TIMEOUT_MS = 10_000;
/** Time limit for reading the first line of a file. */
const DIAGNOSIS_TIMEOUT_MS = 5000;
const MOST_DIAGNOSIS = 600;
/** Files of /etc that name the node. */
const NAMES_IN_ETC = ['hosts', 'hostname'];
/** The file itself, of which the one in /etc is a mount. */
const OVERWRITE = constants.O_WRONLY | constants.O_TRUNC | constants.O_NOFOLLOW;
const AGENT_CHILD = 'agent';
/** Cgroup of processes that ended commands left running: it belongs to the node, not to a controller. */
const BACKGROUND = join(COMMANDS, 'background');

export class OciRuntime implements ContainerRuntime {
  readonly caveats = [];
  /** Layout of the host's cgroups. */
  readonly layout: 'v1' | 'v2';
  /** The OCI runtime, found in PATH. */
  readonly #program: string;
  readonly #stateDir: string;
  /** Root folder of every first stage; see STAGE_MOUNT_POINTS. */
  readonly #stageRoot: string;
  readonly #cgroups: CgroupTree;
  /** Distinguishes commands of this controller from those of an earlier one. */
  readonly #tag = randomBytes(4).toString('hex');
  #execs = 0;
  /** Cgroups of commands that are starting or running; their names are unique across all nodes. */
  readonly #heldCommands = new Set<string>();

  private constructor(
    private readonly options: OciOptions,
    layout: 'v1' | 'v2',
  ) {
    this.layout = layout;
    this.#program = options.program.name;
    this.#stateDir = join(options.runDir, `${this.#program}.state`);
    this.#stageRoot = join(options.runDir, `${this.#program}.root`);
    this.#cgroups = new CgroupTree(layout, options.cgroupParent);
  }

  static async open(options: OciOptions): Promise<OciRuntime> {
    return new OciRuntime(options, await layoutFor(options.program));
  }

  async prepare(): Promise<void> {
    if (process.getuid?.() !== 0) {
      throw new NexusError(
        'failed_precondition',
        `the runtime ${this.#program} needs root`,
        {},
        { advice: { key: 'use-root' } },
      );
    }
    const program = this.#program;
    await runCommand(program, ['--version'], { failure: `the container runtime ${program} does not work` });
    for (const file of [join(this.options.runtimeDir, 'agent.cjs'), this.options.stageProgram]) {
      await access(file).catch((error: unknown) => {
        throw new NexusError(
          'failed_precondition',
          `there is no ${file}; run deploy/bootstrap.sh`,
          {},
          { cause: error },
        );
      });
    }
    await mkdir(this.#stateDir, { recursive: true, mode: 0o700 });
    await mkdir(this.#stageRoot, { recursive: true });
    await refuseHidden(this.#stageRoot);
    for (const place of STAGE_MOUNT_POINTS) {
      const folder = join(this.#stageRoot, place);
      await mkdir(folder, { recursive: true });
      // runc gives a tmpfs the mode of the folder that it is mounted on.
      await chmod(folder, place === 'tmp' ? 0o1777 : 0o755);
    }
  }

  async create(
    spec: ContainerSpec,
    signal: AbortSignal,
    began?: (first: ProcessIdentity) => void,
  ): Promise<ProcessIdentity> {
    const bundle = this.#bundleDir(spec.nodeId);
    const pidFile = join(bundle, 'init.pid');
    await mkdir(bundle, { recursive: true, mode: 0o700 });
    const host = {
      stageRoot: this.#stageRoot,
      runtimeDir: this.options.runtimeDir,
      cgroupsPath: this.#cgroups.pathOf(spec.nodeId),
      cgroupLayout: this.layout,
      program: this.options.program,
    };
    await writeFile(join(bundle, 'config.json'), JSON.stringify(ociConfig(spec, host)));
    await this.#runCreate(spec, bundle, pidFile, signal);
    const identity = identify(Number(await readFile(pidFile, 'utf8')));
    if (identity === undefined) throw new NexusError('internal', 'the container ended before it was started');
    // Undo an OOM score that protects the controller: it must not protect the node. Not set in the bundle, because runc
    // would apply it to commands, too, which must be killed before the agent.
    if (ownOomScore() < 0) await writeFile(`/proc/${identity.pid}/oom_score_adj`, '0');
    await this.#cgroups.moveInto(spec.nodeId, AGENT_CHILD, identity.pid);
    // The agent loads its code while the file system is put together, and waits for that.
    await this.#letBegin(spec.nodeId, identity, signal);
    began?.(identity);
    await this.#cgroups.countMemoryByChild(spec.nodeId);
    await this.#cgroups.limitCommands(spec.nodeId, memoryShares(spec.limits.memoryBytes));
    await this.#hasAgent(spec.nodeId, identity, signal);
    await assembleNode(this.options.stageProgram, spec, identity, signal);
    wake(identity);
    return identity;
  }

  /**
   * The runtime passes its own standard streams on to the container, so they go to the log, not into pipes of the
   * controller. It is not aborted when the caller leaves: a partly made container has no state to remove it by, and its
   * processes would make cgroups after the removal.
   */
  async #runCreate(spec: ContainerSpec, bundle: string, pidFile: string, signal: AbortSignal): Promise<void> {
    const ownLog = join(bundle, `${this.#program}.log`);
    await rm(ownLog, { force: true });
    // Descriptors from 3 on: only the status socket.
    const inherited = spec.statusSocket === undefined ? [] : [spec.statusSocket];
    const options = ['--bundle', bundle, '--pid-file', pidFile, '--preserve-fds', String(inherited.length)];
    const args = this.#arguments(...logTo(ownLog), 'create', ...options, spec.nodeId);
    const stdio = ['ignore' as const, spec.output, spec.output, ...inherited];
    const program = this.#program;
    const child = startChild(program, args, { stdio, timeout: CREATE_TIMEOUT_MS });
    const [exitCode] = (await once(child, 'exit').catch((error: unknown) => {
      throw notStarted(program, error as NodeJS.ErrnoException);
    })) as [number | null];
    if (exitCode !== 0) {
      const said = await lastMessage(ownLog);
      throw toolFailure('its container cannot be made', { program, verb: 'create', exitCode, said });
    }
    signal.throwIfAborted();
  }

  /**
   * Does the same as the runtime's own `start`, without a process where that is possible: one takes half of the time of a creation.
   * Whoever opens the pipe lets the first process go, which says so before it becomes the agent's.
   */
  async #letBegin(nodeId: NodeId, first: ProcessIdentity, signal: AbortSignal): Promise<void> {
    const { startPipe } = this.options.program;
    if (startPipe === undefined) {
      const failure = 'its container cannot be started';
      await runCommand(this.#program, this.#arguments('start', nodeId), { signal, failure });
      return;
    }
    const path = join(this.#stateDir, nodeId, startPipe);
    // Not waited for in `open`, which would hold a thread until the process opens its end.
    const pipe = await open(path, constants.O_RDONLY | constants.O_NONBLOCK);
    try {
      const isOver = (): boolean => readable(pipe.fd) > 0 || !isAlive(first);
      if (!(await until(isOver, { everyMs: 1, withinMs: BEGIN_TIMEOUT_MS, signal })))
        throw new NexusError('deadline_exceeded', `its first process did not begin within ${BEGIN_TIMEOUT_MS} ms`);
    } finally {
      await pipe.close().catch(() => undefined);
    }
    await rm(path, { force: true });
  }

  /**
   * Waits until the first process has started the agent. A process that is being started while the stage changes the root
   * of all that run is not yet among them: it would keep the old one, which is empty then.
   */
  async #hasAgent(nodeId: NodeId, first: ProcessIdentity, signal: AbortSignal): Promise<void> {
    const isThere = async (): Promise<boolean> =>
      (await this.#cgroups.processes(nodeId, AGENT_CHILD)).length > 1 || !isAlive(first);
    if (!(await until(isThere, { everyMs: 1, withinMs: BEGIN_TIMEOUT_MS, signal })))
      throw new NexusError('deadline_exceeded', `its agent was not started within ${BEGIN_TIMEOUT_MS} ms`);
  }

  /** The agent has been loaded by now, and waits for its configuration. */
  async start(nodeId: NodeId): Promise<void> {
    const first = await this.#firstProcess(nodeId);
    if (first === undefined) throw new NexusError('not_found', `node ${nodeId} has no container`);
    wake(first);
  }

  isWaiting({ pid }: ProcessIdentity): boolean {
    return existsSync(`/proc/${pid}/root${IN_NODE.waiting}`);
  }

  /** The files are those that node-stage.c copied: nobody has been root in the node, so they are still its own. */
  async assign(
    first: ProcessIdentity,
    { nodeId, hostname, limits, configDir }: Pick<ContainerSpec, 'nodeId' | 'hostname' | 'limits' | 'configDir'>,
  ): Promise<void> {
    const { pid } = first;
    wake(first);
    const busybox = join(this.options.runtimeDir, 'bin', 'busybox');
    const naming = runCommand('nsenter', [`--uts=/proc/${pid}/ns/uts`, busybox, 'hostname', hostname], {
      failure: 'its host name cannot be set',
    });
    await Promise.all([
      naming,
      this.#cgroups.setCpuWeight(nodeId, limits.cpuWeight),
      ...NAMES_IN_ETC.map(async (name) => {
        const text = await readFile(join(configDir, 'etc', name));
        await writeFile(`/proc/${pid}/root${IN_NODE.etc}/${name}`, text, { flag: OVERWRITE });
      }),
    ]);
  }

  async kill(_nodeId: NodeId, identity: ProcessIdentity): Promise<void> {
    if (!isAlive(identity)) return;
    process.kill(identity.pid, 'SIGKILL');
    await waitForEnd(identity);
  }

  async remove(nodeId: NodeId): Promise<void> {
    const first = await this.#firstProcess(nodeId);
    if (first !== undefined) await this.kill(nodeId, first);
    await this.#cgroups.removeTree(nodeId);
    await rm(this.#bundleDir(nodeId), { recursive: true, force: true });
    await rm(join(this.#stateDir, nodeId), { recursive: true, force: true });
  }

  async update(nodeId: NodeId, limits: ContainerLimits): Promise<void> {
    const resources = {
      memory: { limit: limits.memoryBytes, swap: limits.memoryBytes },
      pids: { limit: limits.pids },
    };
    const file = join(this.#bundleDir(nodeId), 'limits.json');
    const args = this.#arguments('update', '--resources', file, nodeId);
    await this.#onContainer(nodeId, async () => {
      await this.#limitCommands(nodeId, limits);
      await writeFile(file, JSON.stringify(resources), { mode: 0o600 });
      await runCommand(this.#program, args, { failure: 'its limits cannot be changed' });
    });
    await rm(file, { force: true });
    await this.#cgroups.setCpuWeight(nodeId, limits.cpuWeight);
  }

  async list(): Promise<readonly NodeId[]> {
    const names: string[] = await readdir(this.#stateDir).catch(() => []);
    return names.filter(isNodeId);
  }

  async exec(nodeId: NodeId, spec: ExecSpec): Promise<ExecHandle> {
    this.#execs += 1;
    const name = `exec-${this.#tag}-${this.#execs}`;
    const child = join(COMMANDS, name);
    await this.#cgroups.pruneCommands(nodeId, this.#heldCommands);
    const processFile = join(this.#bundleDir(nodeId), `${name}.json`);
    this.#heldCommands.add(child);
    try {
      // Nodes made by an earlier version lack the parent.
      for (const folder of [COMMANDS, child]) {
        await this.#onContainer(nodeId, () => this.#cgroups.makeChild(nodeId, folder));
      }
      await writeFile(processFile, JSON.stringify(ociExecProcess(spec, this.options.program)), { mode: 0o600 });
    } catch (error) {
      this.#heldCommands.delete(child);
      throw error;
    }
    // The runtime's own messages go to a file: standard error is the command's.
    const ownLog = join(this.#bundleDir(nodeId), `${name}.log`);
    const pidFile = join(this.#bundleDir(nodeId), `${name}.pid`);
    const { program, commandBeginMs: beginMs = COMMAND_BEGIN_MS } = this.options;
    const cgroup = {
      processes: () => this.#cgroups.processes(nodeId, child),
      release: async (exitCode: number, isLate: boolean) => {
        const said = await readFile(ownLog, 'utf8').catch(() => '');
        const failure = isLate
          ? notBegun(spec, beginMs, (await this.#state(nodeId).catch(() => undefined))?.pid)
          : failureIn(said, { program: this.#program, exitCode }, spec);
        const words = failure?.lacksInterpreter === true ? await this.#diagnose(nodeId, child, spec) : '';
        await this.#cgroups.moveAll(nodeId, child, BACKGROUND);
        this.#heldCommands.delete(child);
        for (const file of [processFile, ownLog, pidFile]) await rm(file, { force: true });
        await this.#cgroups.pruneCommands(nodeId, this.#heldCommands);
        return failure !== undefined && words !== '' ? { ...failure, words } : failure;
      },
    };
    const args = [...this.#cgroups.execArguments(child), '--process', processFile, nodeId];
    const global = this.#arguments(...logTo(ownLog));
    try {
      return spawnExec({ program, global, args, pidFile, log: ownLog, cgroup, beginMs }, spec);
    } catch (error) {
      await cgroup.release(EXEC_FAILED, false).catch(() => undefined);
      throw new NexusError(
        'resource_exhausted',
        'the command cannot be started: this machine has no process or terminal left; end something, then try again',
        {},
        { cause: error },
      );
    }
  }

  /** Names the interpreter or loader that the program lacks, read in the node as the command's user; empty if unknown. */
  async #diagnose(nodeId: NodeId, child: string, spec: ExecSpec): Promise<string> {
    const processFile = join(this.#bundleDir(nodeId), `${basename(child)}.why.json`);
    try {
      await writeFile(processFile, JSON.stringify(ociDiagnosis(spec, this.options.program)), { mode: 0o600 });
      const args = [...this.#cgroups.execArguments(child), '--process', processFile, nodeId];
      const diagnosis = tryCommand(this.#program, this.#arguments('exec', ...args));
      // Its process in the node may wait for ever, and holds its output.
      if (!(await endsWithin(DIAGNOSIS_TIMEOUT_MS, diagnosis)))
        await killAll({ processes: () => this.#cgroups.processes(nodeId, child) });
      const { stdout } = await diagnosis;
      return plainText(stdout.trim(), MOST_DIAGNOSIS);
    } catch {
      return '';
    } finally {
      await rm(processFile, { force: true }).catch(() => undefined);
    }
  }

  async endCommands(nodeId: NodeId, graceMs: number, which: 'all' | 'orphaned' = 'all'): Promise<readonly string[]> {
    const isHeld = (child: string): boolean => basename(child).startsWith(`exec-${this.#tag}-`);
    const isMeant = (child: string): boolean => which === 'all' || !(child === BACKGROUND || isHeld(child));
    const groups = async (): Promise<string[]> => (await this.#cgroups.commands(nodeId)).filter(isMeant);
    const lines = await endGroups(
      {
        list: groups,
        processes: (child) => this.#cgroups.processes(nodeId, child),
        describe: (child) => this.#commandLine(nodeId, basename(child)),
      },
      graceMs,
    );
    // The controller that would have removed an orphan's files is gone.
    if (which === 'orphaned') {
      for (const child of await groups()) {
        for (const suffix of ['json', 'log', 'pid', 'why.json'])
          await rm(join(this.#bundleDir(nodeId), `${basename(child)}.${suffix}`), { force: true });
      }
    }
    await this.#cgroups.pruneCommands(nodeId, this.#heldCommands);
    return lines;
  }

  async #commandLine(nodeId: NodeId, name: string): Promise<string> {
    const text = await readFile(join(this.#bundleDir(nodeId), `${name}.json`), 'utf8').catch(() => '{}');
    try {
      return ((JSON.parse(text) as { command?: string[] }).command ?? [name]).join(' ');
    } catch {
      // Truncated by the end of the controller that wrote it.
      return name;
    }
  }

  /**
   * Limits the commands' memory. Code: failed_precondition where the kernel refuses less than they use now, as on v1.
   */
  async #limitCommands(nodeId: NodeId, limits: ContainerLimits): Promise<void> {
    try {
      await this.#cgroups.limitCommands(nodeId, memoryShares(limits.memoryBytes));
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'EBUSY') throw error;
      throw new NexusError(
        'failed_precondition',
        'commands of the node use more memory than the new limit; end them, remove files in /tmp and /dev/shm, or stop the node first',
        {},
        { cause: error },
      );
    }
  }

  async wasOutOfMemory(nodeId: NodeId): Promise<boolean> {
    return (await this.#cgroups.oomKills(nodeId, AGENT_CHILD)) > 0;
  }

  async destroy(): Promise<void> {
    await this.#cgroups.removeParent();
    for (const folder of [this.#stateDir, this.#stageRoot]) await rm(folder, { recursive: true, force: true });
  }

  #bundleDir(nodeId: NodeId): string {
    return join(this.options.runDir, nodeId, 'bundle');
  }

  #arguments(...args: string[]): string[] {
    return ['--root', this.#stateDir, ...args];
  }

  /** Maps failures to not_found if there is no such container: the program's exit code is the same for every failure. */
  async #onContainer(nodeId: NodeId, work: () => Promise<unknown>): Promise<void> {
    try {
      await work();
    } catch (error) {
      if ((await this.#state(nodeId).catch(() => 'unknown')) !== undefined) throw error;
      throw new NexusError('not_found', `node ${nodeId} has no container`, {}, { cause: error });
    }
  }

  /**
   * As the runtime's own file has it; undefined for a container without one, or that never had a process. Read here, and
   * removed here with the cgroups, since two processes of the runtime took most of a removal's processor time.
   */
  async #firstProcess(nodeId: NodeId): Promise<ProcessIdentity | undefined> {
    const { name, pid, startTicks } = this.options.program.stateFile;
    const text = await readFile(join(this.#stateDir, nodeId, name), 'utf8').catch(() => '');
    // Empty, too, where a create was cut off.
    if (text === '') return undefined;
    const state = JSON.parse(text) as Readonly<Record<string, unknown>>;
    return { pid: Number(state[pid]), startTicks: String(state[startTicks]) };
  }

  async #state(nodeId: NodeId): Promise<{ status: string; pid: number } | undefined> {
    const result = await tryCommand(this.#program, this.#arguments('state', nodeId));
    // A create that was cut off leaves a state folder without readable state; `remove` deletes the folder.
    if (result.exitCode !== 0) return undefined;
    return JSON.parse(result.stdout) as { status: string; pid: number };
  }
}

/**
 * Root of a node is nobody on the host, and its container begins in a folder that it has to reach. Code:
 * failed_precondition.
 */
async function refuseHidden(folder: string): Promise<void> {
  for (let path = folder; path !== '/'; path = dirname(path)) {
    const { mode } = await stat(path);
    if ((mode & OTHERS_MAY_ENTER) === 0)
      throw new NexusError(
        'failed_precondition',
        `users other than the owner may not enter ${path}, and the root of a node is such a user; run: chmod o+x ${path}`,
      );
  }
}
const OTHERS_MAY_ENTER = 0o001;

/** Polls, because only a parent can wait for a process. */
/** To the node's first process, which passes it on to the agent. */
function wake(first: ProcessIdentity): void {
  if (isAlive(first)) process.kill(first.pid, WAKE_SIGNAL);
}

async function waitForEnd(identity: ProcessIdentity): Promise<void> {
  if (!(await until(() => !isAlive(identity), { everyMs: 5, withinMs: DEATH_TIMEOUT_MS }))) {
    throw new NexusError(
      'deadline_exceeded',
      `process ${identity.pid} did not end ${DEATH_TIMEOUT_MS} ms after SIGKILL`,
    );
  }
}

/** Number of bytes that a pipe gives now; 0 also while nobody has opened its other end. */
function readable(pipe: number): number {
  try {
    return readSync(pipe, Buffer.alloc(1));
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'EAGAIN') return 0;
    throw error;
  }
}

async function lastMessage(logFile: string): Promise<string> {
  const text = await readFile(logFile, 'utf8').catch(() => '');
  return lastEntry(text)?.words ?? (text.trim() || 'no message');
}

/**
 * Sandboxes forked from a template: an interpreter that is up and has run nothing. A fork costs milliseconds and
 * shares the template's memory; a container of its own would cost a hundred. The isolation is the same: see
 * program/sandbox.py.
 */
import { join } from 'node:path';
import { systemClock } from '../../../shared/async/clock.js';
import { NexusError, toNexusError } from '../../../shared/errors.js';
import type { NodeId } from '../../../shared/ids.js';
import { KIB, MIB } from '../../../shared/limits.js';
import type { Logger } from '../../../shared/log.js';
import { detectCgroupLayout, type CgroupLayout } from '../../../shared/cgroup/layout.js';
import { SandboxCgroups } from './cgroup.js';
import type { Sandbox, SandboxLimits, SandboxRuntime } from './port.js';
import { sandboxFilter } from './seccomp-filter.js';
import { Generations, type TemplateLife } from './template-generations.js';
import { TemplateLauncher, type LauncherPlaces } from './template-launcher.js';
import { TemplateSandbox, type SandboxPlace } from './template-sandbox.js';

export interface TemplateOptions extends Omit<LauncherPlaces, 'image'> {
  readonly cgroupParent: string;
  /** Root file system with python3. Code: not_found. */
  image(): Promise<string>;
  /** Host uid of the first sandbox; each living one has its own, which no other instance uses. */
  readonly uidBase: number;
  /** Time for a template to start, for a sandbox to start, and for a template to answer. */
  readonly startTimeoutMs: number;
  readonly log: Logger;
  /** For tests: when a template is replaced. */
  readonly life?: TemplateLife;
}

/** Processes and threads of one sandbox: the interpreter, its threads and what it starts. */
const PIDS = 64;
const CPU_PERCENT = 100;
const TMP_BYTES = 16 * MIB;
const TMP_FILES = 4096;
/** setrlimit(2); memory and processes are bounded by the cgroup. */
const RLIMITS = { NOFILE: 256, FSIZE: TMP_BYTES, CORE: 0, MEMLOCK: 64 * KIB, MSGQUEUE: 0, SIGPENDING: 256 };

/** A template's start costs a third of a second of one core. */
const TEMPLATE_LIFE: TemplateLife = { forks: 1000, ms: 10 * 60 * 1000 };

export class TemplateSandboxes implements SandboxRuntime {
  readonly #cgroups: SandboxCgroups;
  readonly #filter = sandboxFilter(process.arch);
  readonly #living = new Map<number, TemplateSandbox>();
  readonly #templates: Generations;
  #started = 0;
  #count = 0;

  private constructor(
    private readonly options: TemplateOptions,
    layout: CgroupLayout,
  ) {
    this.#cgroups = new SandboxCgroups(layout, options.cgroupParent);
    const start = async (): Promise<TemplateLauncher> => {
      this.#started += 1;
      const generation = this.#started;
      const places = { ...options, image: await options.image() };
      return await TemplateLauncher.start(places, generation, this.#filter, options.log);
    };
    this.#templates = new Generations(start, options.life ?? TEMPLATE_LIFE, systemClock, options.log);
  }

  static async open(options: TemplateOptions): Promise<TemplateSandboxes> {
    return new TemplateSandboxes(options, await detectCgroupLayout());
  }

  async prepare(nodes: readonly NodeId[]): Promise<void> {
    for (const node of nodes) for (const name of await this.#cgroups.list(node)) await this.#cgroups.remove(node, name);
  }

  memoryBesides(node: NodeId): Promise<number | undefined> {
    return this.#cgroups.besides(node);
  }

  /** If the template ends meanwhile, the sandbox is made from the next one. */
  async create(nodeId: NodeId, limits: SandboxLimits, signal: AbortSignal): Promise<Sandbox> {
    try {
      return await this.#make(nodeId, limits, signal);
    } catch (error) {
      if (toNexusError(error).code !== 'unavailable' || signal.aborted) throw error;
      return await this.#make(nodeId, limits, signal);
    }
  }

  async #make(nodeId: NodeId, { memoryBytes }: SandboxLimits, signal: AbortSignal): Promise<Sandbox> {
    this.#count += 1;
    const cgroup = SandboxCgroups.nameOf(process.pid, this.#count);
    await this.#cgroups.make(nodeId, cgroup, { memoryBytes, pids: PIDS, cpuPercent: CPU_PERCENT });
    const { launcher, release } = await this.#templates.acquire().catch(async (error: unknown) => {
      await this.#cgroups.remove(nodeId, cgroup).catch(() => undefined);
      throw error;
    });
    const sandbox = this.#fork(launcher, { nodeId, cgroup, memoryBytes }, release);
    await sandbox.waitReady(this.options.startTimeoutMs);
    if (signal.aborted) {
      await sandbox.destroy();
      throw new NexusError('cancelled', 'making a sandbox was cancelled');
    }
    return sandbox;
  }

  #fork(launcher: TemplateLauncher, place: SandboxPlace, release: () => void): TemplateSandbox {
    const { nodeId, cgroup } = place;
    const slot = this.#freeSlot();
    const spec = {
      uid: this.options.uidBase + slot,
      cgroups: this.#cgroups.entrances(nodeId, cgroup),
      tmp_bytes: TMP_BYTES,
      tmp_files: TMP_FILES,
      rlimits: RLIMITS,
    };
    const connections = {
      control: launcher.open(cgroup, 'control', spec),
      input: launcher.open(cgroup, 'input'),
      output: launcher.open(cgroup, 'output'),
      errors: launcher.open(cgroup, 'errors'),
      result: launcher.open(cgroup, 'result'),
    };
    const sandbox = new TemplateSandbox(connections, place, this.#cgroups, this.options.log);
    this.#living.set(slot, sandbox);
    void sandbox.ended.then(() => {
      this.#living.delete(slot);
      release();
    });
    return sandbox;
  }

  async destroy(): Promise<void> {
    await Promise.all([...this.#living.values()].map((sandbox) => sandbox.destroy()));
    await this.#templates.destroy();
  }

  #freeSlot(): number {
    let slot = 0;
    while (this.#living.has(slot)) slot += 1;
    return slot;
  }
}

/** Folder of the launcher's sockets, below the instance's run folder; the dot keeps it apart from nodes' folders. */
export const launcherFolder = (runDir: string): string => join(runDir, 'lambda.sandboxes');

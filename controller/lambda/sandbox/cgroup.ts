/**
 * The cgroup of each sandbox: a child of its node's, so that the node's limits hold for all of them together, with
 * limits of its own. It finds a sandbox's processes even after the controller that started them has gone.
 */
import { Cgroup } from '../../../shared/cgroup/cgroup.js';
import { workingSetOf } from '../../../shared/cgroup/figures.js';
import type { CgroupLayout } from '../../../shared/cgroup/layout.js';
import { NexusError } from '../../../shared/errors.js';
import type { OutOfMemory } from './port.js';

const PREFIX = 'lambda-';

export interface CgroupLimits {
  readonly memoryBytes: number;
  readonly pids: number;
  /** 100 is one core. */
  readonly cpuPercent: number;
}

interface SandboxUsage {
  readonly peakMemoryBytes: number;
  readonly outOfMemory: OutOfMemory;
}

export class SandboxCgroups {
  readonly #parent: Cgroup;

  constructor(
    layout: CgroupLayout,
    /** The instance's parent cgroup, as in an OCI configuration: absolute below the hierarchy's root, e.g. /nexus. */
    parent: string,
    root?: string,
  ) {
    this.#parent = new Cgroup(layout, parent, root);
  }

  /** Whether all processes of a sandbox are killed if one is for lack of memory. */
  get canKillTogether(): boolean {
    return this.#parent.canKillTogether;
  }

  /** Code: unavailable if the node's cgroup does not exist. */
  async make(node: string, name: string, { memoryBytes, pids, cpuPercent }: CgroupLimits): Promise<void> {
    const cgroup = this.#parent.child(node, name);
    try {
      // Limits of children hold only if the parent delegates their controllers.
      await this.#parent.child(node).delegate('memory', 'pids', 'cpu');
      await cgroup.make();
      await Promise.all([cgroup.limitPids(pids), cgroup.limitCpu(cpuPercent), cgroup.killTogether()]);
      await cgroup.limitMemoryAndSwap(memoryBytes);
    } catch (error) {
      // Remains are removed at the next start of the controller.
      await cgroup.destroy().catch(() => undefined);
      throw new NexusError('unavailable', 'the cgroup of the node takes no sandbox', { node }, { cause: error });
    }
  }

  async setMemory(node: string, name: string, bytes: number): Promise<void> {
    await this.#parent.child(node, name).limitMemoryAndSwap(bytes);
  }

  /** Files, relative to the root of the hierarchies, into which a process writes 0 to move itself into the cgroup. */
  entrances(node: string, name: string): string[] {
    return this.#parent.child(node, name).entrances();
  }

  async usage(node: string, name: string): Promise<SandboxUsage> {
    const cgroup = this.#parent.child(node, name);
    const [peak, whose] = await Promise.all([cgroup.read('memory.peak'), cgroup.outOfMemory()]);
    const outOfMemory = whose === false ? false : whose === 'own limit' ? 'limit' : 'node';
    return { peakMemoryBytes: Number(peak), outOfMemory };
  }

  /** Working set of the node's other child cgroups, bytes; undefined if none reports its memory. */
  async besides(node: string): Promise<number | undefined> {
    const cgroup = this.#parent.child(node);
    const others = (await cgroup.children('memory.current')).filter((name) => !name.startsWith(PREFIX));
    const used = await Promise.all(others.map((name) => workingSetOf(cgroup.child(name))));
    const known = used.filter((bytes) => bytes !== undefined);
    return known.length === 0 ? undefined : known.reduce((sum, bytes) => sum + bytes, 0);
  }

  /** Kills all its processes and removes it. Succeeds if it does not exist. Code: deadline_exceeded. */
  async remove(node: string, name: string): Promise<void> {
    await this.#parent.child(node, name).destroy();
  }

  /** Names of all sandboxes that any controller has made on the node. */
  async list(node: string): Promise<string[]> {
    const names = await this.#parent.child(node).children();
    return names.filter((name) => name.startsWith(PREFIX));
  }

  static nameOf(controllerPid: number, count: number): string {
    return `${PREFIX}${controllerPid}-${count}`;
  }
}

/**
 * A node's cgroup is a parent that carries the limits. Its children are the agent, the commands and the sandboxes, and
 * each command has a child of `commands`. runc makes and limits the parent; this makes the children, limits the memory
 * of all commands together and moves processes, on cgroup v2 and on v1 (and hybrid).
 */
import { constants } from 'node:fs';
import { access, mkdir, readdir, readFile, rmdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { systemClock } from '../../../shared/async/clock.js';
import { NexusError } from '../../../shared/errors.js';

const ROOT = '/sys/fs/cgroup';
/** v1 controllers whose limits or counters nodes use; their children are enough to distinguish a node's processes. */
const V1_CONTROLLERS = ['memory', 'cpu', 'cpuacct', 'pids'] as const;

/** The parent of all commands of a node. */
export const COMMANDS = 'commands';

export type CgroupLayout = 'v1' | 'v2';

/** Code: failed_precondition if a required controller is missing. */
export async function detectCgroupLayout(root = ROOT): Promise<CgroupLayout> {
  const unified = await readFile(join(root, 'cgroup.controllers'), 'utf8').catch(() => undefined);
  const available = new Set(unified?.split(/\s+/) ?? (await readdir(root)));
  const missing = ['memory', 'cpu', 'pids'].filter((controller) => !available.has(controller));
  if (missing.length > 0) {
    throw new NexusError(
      'failed_precondition',
      `cgroup controllers missing on this host: ${missing.join(', ')}`,
      {},
      { advice: { key: 'see-doctor' } },
    );
  }
  return unified === undefined ? 'v1' : 'v2';
}

export class CgroupTree {
  constructor(
    readonly layout: CgroupLayout,
    /** As in an OCI configuration: absolute below the hierarchy's root, e.g. /nexus. */
    private readonly parent: string,
    private readonly root = ROOT,
  ) {}

  pathOf(node: string): string {
    return `${this.parent}/${node}`;
  }

  /** Makes the child if it is missing, and moves the process into it. */
  async moveInto(node: string, child: string, pid: number): Promise<void> {
    await this.makeChild(node, child);
    for (const folder of this.#folders(node, child)) await writeFile(join(folder, 'cgroup.procs'), String(pid));
  }

  /** Never makes the parent: it would stay behind if the node was just removed. Code: ENOENT, from the system. */
  async makeChild(node: string, child: string): Promise<void> {
    for (const folder of this.#folders(node, child)) await mkdir(folder).catch(ignore('EEXIST'));
  }

  /** Sets the weight of a running node's parent; on v1 as the same number of shares. */
  async setCpuWeight(node: string, weight: number): Promise<void> {
    const file =
      this.layout === 'v2'
        ? join(this.root, this.pathOf(node), 'cpu.weight')
        : join(this.root, 'cpu', this.pathOf(node), 'cpu.shares');
    await writeFile(file, String(weight));
  }

  /** Limits the memory of all commands together; makes their common parent if it is missing. Codes: ENOENT, EBUSY. */
  async limitCommands(node: string, bytes: number): Promise<void> {
    await this.makeChild(node, COMMANDS);
    const path = join(this.pathOf(node), COMMANDS);
    const file =
      this.layout === 'v2'
        ? join(this.root, path, 'memory.max')
        : join(this.root, 'memory', path, 'memory.limit_in_bytes');
    await writeFile(file, String(bytes));
  }

  /** Moves all processes of one child into another, in rounds: forks during a round are found in the next. */
  async moveAll(node: string, from: string, to: string): Promise<void> {
    for (let round = 0; round < MAX_MOVE_ROUNDS; round += 1) {
      const pids = await this.processes(node, from);
      if (pids.length === 0) return;
      for (const pid of pids) await this.moveInto(node, to, pid).catch(ignore('ESRCH', 'ENOENT', 'ENODEV'));
    }
  }

  /** Names of the cgroups of commands, including ended ones, relative to the node's. */
  async commands(node: string): Promise<string[]> {
    const [folder = ''] = this.#folders(node, COMMANDS);
    const entries = await readdir(folder, { withFileTypes: true }).catch(() => []);
    return entries.filter((entry) => entry.isDirectory()).map((entry) => join(COMMANDS, entry.name));
  }

  /** Arguments that make `runc exec` start its command in the child. */
  execArguments(child: string): string[] {
    const names = this.layout === 'v2' ? [child] : V1_CONTROLLERS.map((controller) => `${controller}:${child}`);
    return names.flatMap((name) => ['--cgroup', name]);
  }

  /** Process ids in one child (not below it). */
  async processes(node: string, child: string): Promise<number[]> {
    const [folder] = this.#folders(node, child);
    const text = await readFile(join(folder ?? '', 'cgroup.procs'), 'utf8').catch(() => '');
    return text.split('\n').filter(Boolean).map(Number);
  }

  /**
   * Makes the kernel count memory per child, as v1 always does: a command killed for lack of memory must not count as
   * the agent's end. Only possible while the parent itself has no process.
   */
  async tellMemoryApart(node: string): Promise<void> {
    if (this.layout === 'v1') return;
    await writeFile(join(this.root, this.pathOf(node), 'cgroup.subtree_control'), '+memory');
  }

  /** Number of processes of the child, or of the parent itself, killed for lack of memory; 0 if the cgroup is gone. */
  async oomKills(node: string, child: string): Promise<number> {
    if (this.layout === 'v2') {
      // The parent's file counts the losses of all children; it is the only one if they are not counted separately.
      const own = await this.#text(this.pathOf(node), child, 'memory.events');
      return oomKillsIn(own ?? (await this.#text(this.pathOf(node), 'memory.events')));
    }
    const files = ['', child].map((name) => this.#text('memory', this.pathOf(node), name, 'memory.oom_control'));
    return (await Promise.all(files)).map(oomKillsIn).reduce((sum, kills) => sum + kills, 0);
  }

  #text(...path: string[]): Promise<string | undefined> {
    return readFile(join(this.root, ...path), 'utf8').catch(() => undefined);
  }

  /**
   * Removes cgroups of commands whose processes have all ended, and skips those with processes. `kept`: commands that
   * have not ended, including those that are being started and have no process yet.
   */
  async pruneCommands(node: string, kept: ReadonlySet<string>): Promise<void> {
    for (const parent of this.#folders(node, COMMANDS)) {
      const entries = await readdir(parent, { withFileTypes: true }).catch(() => []);
      for (const { name } of entries.filter((entry) => entry.isDirectory() && !kept.has(join(COMMANDS, entry.name)))) {
        await rmdir(join(parent, name)).catch(ignore('EBUSY', 'ENOENT'));
      }
    }
  }

  /** Removes a node's whole tree once its processes are gone. */
  async removeTree(node: string): Promise<void> {
    for (const folder of this.#everyHierarchy(this.pathOf(node))) await removeFolders(folder);
  }

  /** Removes the instance's parent when no node is left in it. */
  async removeParent(): Promise<void> {
    for (const folder of this.#everyHierarchy(this.parent))
      await rmdir(folder).catch(ignore('ENOENT', 'EBUSY', 'ENOTEMPTY'));
  }

  #folders(node: string, child = ''): string[] {
    if (this.layout === 'v2') return [join(this.root, this.pathOf(node), child)];
    return V1_CONTROLLERS.map((controller) => join(this.root, controller, this.pathOf(node), child));
  }

  /** runc makes its path in every mounted hierarchy, not only in those with limits. */
  #everyHierarchy(path: string): string[] {
    if (this.layout === 'v2') return [join(this.root, path)];
    return V1_HIERARCHIES.map((hierarchy) => join(this.root, hierarchy, path));
  }
}

const oomKillsIn = (text = ''): number => Number(/^oom_kill (\d+)$/m.exec(text)?.[1] ?? 0);

const V1_HIERARCHIES = [
  ...V1_CONTROLLERS,
  'blkio',
  'cpuset',
  'devices',
  'freezer',
  'hugetlb',
  'misc',
  'net_cls',
  'net_prio',
  'perf_event',
  'rdma',
  'systemd',
  'unified',
];

async function removeFolders(folder: string): Promise<void> {
  if (!(await exists(folder))) return;
  for (const entry of await readdir(folder, { withFileTypes: true })) {
    if (entry.isDirectory()) await removeFolders(join(folder, entry.name));
  }
  await removeWhenEmpty(folder);
}

/** Killed processes still count until the kernel has cleaned them up. */
async function removeWhenEmpty(folder: string): Promise<void> {
  const deadline = systemClock.monotonic() + EMPTY_TIMEOUT_MS;
  for (;;) {
    try {
      await rmdir(folder);
      return;
    } catch (error) {
      const { code } = error as NodeJS.ErrnoException;
      if (code === 'ENOENT') return;
      if (code !== 'EBUSY' || systemClock.monotonic() > deadline) throw error;
    }
    await systemClock.sleep(5);
  }
}

/** A round misses processes forked during it. More rounds than a node may have processes mean a kernel fault. */
const MAX_MOVE_ROUNDS = 1000;

const EMPTY_TIMEOUT_MS = 5000;

const exists = (path: string): Promise<boolean> =>
  access(path, constants.F_OK).then(
    () => true,
    () => false,
  );

const ignore =
  (...codes: string[]) =>
  (error: NodeJS.ErrnoException): void => {
    if (!codes.includes(error.code ?? '')) throw error;
  };

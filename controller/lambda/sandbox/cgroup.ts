/**
 * The cgroup of each sandbox: a child of its node's, so that the node's limits hold for all of them together, with
 * limits of its own. It finds a sandbox's processes even after the controller that started them has gone.
 */
import { mkdir, readdir, readFile, rmdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { systemClock } from '../../../shared/async/clock.js';
import { NexusError } from '../../../shared/errors.js';
import type { CgroupLayout } from '../../hosting/contained/cgroup.js';
import type { OutOfMemory } from './port.js';

const ROOT = '/sys/fs/cgroup';
/** cpuacct: makes a sandbox's CPU time part of its node's figures. */
const V1_CONTROLLERS = ['memory', 'cpu', 'cpuacct', 'pids'] as const;
const PREFIX = 'lambda-';

const CPU_PERIOD_USEC = 100_000;
const EMPTY_TIMEOUT_MS = 5000;
const EMPTY_POLL_MS = 2;
/** On v1, a cgroup may be refused memory this far below its limit: the kernel charges by batches. */
const V1_SLACK_BYTES = 1024 * 1024;

export interface CgroupLimits {
  readonly memoryBytes: number;
  readonly pids: number;
  /** 100 is one core. */
  readonly cpuPercent: number;
}

export interface CgroupUsage {
  readonly peakMemoryBytes: number;
  readonly outOfMemory: OutOfMemory;
}

export class SandboxCgroups {
  constructor(
    readonly layout: CgroupLayout,
    /** The instance's parent cgroup, as in an OCI configuration: absolute below the hierarchy's root, e.g. /nexus. */
    private readonly parent: string,
    private readonly root = ROOT,
  ) {}

  /** Code: unavailable if the node's cgroup does not exist. */
  async make(node: string, name: string, limits: CgroupLimits): Promise<void> {
    try {
      if (this.layout === 'v2') await this.#delegate(node);
      await Promise.all(this.#folders(node, name).map((folder) => mkdir(folder).catch(ignore('EEXIST'))));
      await Promise.all(this.#limitFiles(node, name, limits).map(([file, value]) => writeFile(file, value)));
      await this.setMemory(node, name, limits.memoryBytes);
    } catch (error) {
      // Remains are removed at the next start of the controller.
      await this.remove(node, name).catch(() => undefined);
      throw new NexusError('unavailable', 'the cgroup of the node takes no sandbox', { node }, { cause: error });
    }
  }

  async setMemory(node: string, name: string, bytes: number): Promise<void> {
    const memory = this.#folder('memory', node, name);
    if (this.layout === 'v2') {
      await writeFile(join(memory, 'memory.max'), String(bytes));
      // Absent on a kernel without swap.
      await writeFile(join(memory, 'memory.swap.max'), '0').catch(ignore('ENOENT', 'EACCES'));
      return;
    }
    // Memory and swap together may never be below memory alone, so the order depends on the direction.
    const limit = (): Promise<void> => writeFile(join(memory, 'memory.limit_in_bytes'), String(bytes));
    const both = (): Promise<void> =>
      writeFile(join(memory, 'memory.memsw.limit_in_bytes'), String(bytes)).catch(ignore('ENOENT', 'EACCES'));
    try {
      await limit();
      await both();
    } catch {
      await both();
      await limit();
    }
  }

  /** Files, relative to the root of the hierarchies, into which a process writes 0 to move itself into the cgroup. */
  entrances(node: string, name: string): string[] {
    // Moving a single thread avoids a wait for the whole machine; on v2 only processes can move.
    const file = this.layout === 'v2' ? 'cgroup.procs' : 'tasks';
    return this.#folders(node, name).map((folder) => join(folder, file).slice(this.root.length + 1));
  }

  async usage(node: string, name: string): Promise<CgroupUsage> {
    const memory = this.#folder('memory', node, name);
    const isV2 = this.layout === 'v2';
    const [peak, events, limit] = await Promise.all([
      textOf(memory, isV2 ? 'memory.peak' : 'memory.max_usage_in_bytes'),
      textOf(memory, isV2 ? 'memory.events' : 'memory.oom_control'),
      textOf(memory, isV2 ? 'memory.max' : 'memory.limit_in_bytes'),
    ]);
    const peakMemoryBytes = Number(peak);
    if (fieldOf(events, 'oom_kill') === 0) return { peakMemoryBytes, outOfMemory: false };
    // v2 counts separately whether this limit was reached; on v1 only the peak usage shows that.
    const isOwn = isV2 ? fieldOf(events, 'oom') > 0 : peakMemoryBytes >= Number(limit) - V1_SLACK_BYTES;
    return { peakMemoryBytes, outOfMemory: isOwn ? 'limit' : 'node' };
  }

  /** Working set of the node's other child cgroups, bytes; undefined if none reports its memory. */
  async besides(node: string): Promise<number | undefined> {
    const parent = this.#folder('memory', node, '');
    const children = await readdir(parent, { withFileTypes: true }).catch(() => []);
    const others = children.filter((child) => child.isDirectory() && !child.name.startsWith(PREFIX));
    const used = await Promise.all(others.map(({ name }) => this.#workingSet(join(parent, name))));
    const known = used.filter((bytes) => bytes !== undefined);
    return known.length === 0 ? undefined : known.reduce((sum, bytes) => sum + bytes, 0);
  }

  async #workingSet(folder: string): Promise<number | undefined> {
    const [usage, ...pageCache] = this.layout === 'v2' ? V2_USAGE : V1_USAGE;
    const [used, statistics] = await Promise.all([textOf(folder, usage), textOf(folder, 'memory.stat')]);
    const droppable = pageCache.reduce((sum, key) => sum + fieldOf(statistics, key), 0);
    return used === '' ? undefined : Math.max(0, Number(used) - droppable);
  }

  /** Kills all its processes and removes it. Succeeds if it does not exist. Code: deadline_exceeded. */
  async remove(node: string, name: string): Promise<void> {
    const deadline = systemClock.monotonic() + EMPTY_TIMEOUT_MS;
    for (const folder of this.#folders(node, name)) {
      while (!(await isGone(folder))) {
        await killAll(folder);
        if (systemClock.monotonic() > deadline)
          throw new NexusError('deadline_exceeded', `${folder} does not get empty`);
        await systemClock.sleep(EMPTY_POLL_MS);
      }
    }
  }

  /** Names of all sandboxes that any controller has made on the node. */
  async list(node: string): Promise<string[]> {
    const found = await Promise.all(
      this.#folders(node, '').map((folder): Promise<string[]> => readdir(folder).catch(() => [])),
    );
    return [...new Set(found.flat().filter((name) => name.startsWith(PREFIX)))];
  }

  static nameOf(controllerPid: number, count: number): string {
    return `${PREFIX}${controllerPid}-${count}`;
  }

  /** Gives children their limits: these only hold if the parent delegates its controllers. */
  async #delegate(node: string): Promise<void> {
    await writeFile(join(this.root, this.parent, node, 'cgroup.subtree_control'), '+memory +pids +cpu');
  }

  #limitFiles(node: string, name: string, { pids, cpuPercent }: CgroupLimits): [file: string, value: string][] {
    const quota = Math.round((cpuPercent / 100) * CPU_PERIOD_USEC);
    const pidsMax = join(this.#folder('pids', node, name), 'pids.max');
    const cpu = this.#folder('cpu', node, name);
    if (this.layout === 'v2') {
      return [
        [pidsMax, String(pids)],
        [join(cpu, 'cpu.max'), `${quota} ${CPU_PERIOD_USEC}`],
        [join(cpu, 'memory.oom.group'), '1'],
      ];
    }
    return [
      [pidsMax, String(pids)],
      [join(cpu, 'cpu.cfs_quota_us'), String(quota)],
    ];
  }

  #folder(controller: string, node: string, name: string): string {
    return join(this.root, this.layout === 'v2' ? '' : controller, this.parent, node, name);
  }

  #folders(node: string, name: string): string[] {
    if (this.layout === 'v2') return [this.#folder('', node, name)];
    return V1_CONTROLLERS.map((controller) => this.#folder(controller, node, name));
  }
}

const V1_USAGE = ['memory.usage_in_bytes', 'total_inactive_file', 'total_active_file'] as const;
const V2_USAGE = ['memory.current', 'inactive_file', 'active_file'] as const;

const textOf = (folder: string, file: string): Promise<string> => readFile(join(folder, file), 'utf8').catch(() => '');

const fieldOf = (text: string, key: string): number => Number(new RegExp(`^${key} (\\d+)$`, 'm').exec(text)?.[1] ?? 0);

/** Removes the folder if it is empty. */
async function isGone(folder: string): Promise<boolean> {
  try {
    await rmdir(folder);
    return true;
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    if (code === 'ENOENT') return true;
    if (code !== 'EBUSY') throw error;
    return false;
  }
}

async function killAll(folder: string): Promise<void> {
  const text = await readFile(join(folder, 'cgroup.procs'), 'utf8').catch(() => '');
  for (const pid of text.split('\n').filter(Boolean).map(Number)) {
    try {
      if (pid > 0) process.kill(pid, 'SIGKILL');
    } catch {
      // Ended by itself in between.
    }
  }
}

const ignore =
  (...codes: string[]) =>
  (error: NodeJS.ErrnoException): void => {
    if (!codes.includes(error.code ?? '')) throw error;
  };

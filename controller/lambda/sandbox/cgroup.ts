/**
 * The cgroup of each sandbox: a child of its node's, so that the node's limits hold for all of them together, with limits
 * of its own. Processes of it are found here whatever became of the controller that started them.
 */
import { mkdir, readdir, readFile, rmdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { NexusError } from '../../../shared/errors.js';
import type { CgroupLayout } from '../../runtime/cgroup.js';

const ROOT = '/sys/fs/cgroup';
/** cpuacct: what a sandbox uses shows in its node's figures. */
const V1_CONTROLLERS = ['memory', 'cpu', 'cpuacct', 'pids'] as const;
const PREFIX = 'lambda-';

const CPU_PERIOD_USEC = 100_000;
const EMPTY_TIMEOUT_MS = 5000;
const EMPTY_POLL_MS = 2;

export interface CgroupLimits {
  readonly memoryBytes: number;
  readonly pids: number;
  /** 100 is one core. */
  readonly cpuPercent: number;
}

export interface CgroupUsage {
  readonly peakMemoryBytes: number;
  readonly oomKills: number;
}

export class SandboxCgroups {
  constructor(
    private readonly layout: CgroupLayout,
    /** The instance's, as in an OCI configuration: absolute below the hierarchy's root, e.g. /nexus. */
    private readonly parent: string,
    private readonly root = ROOT,
  ) {}

  /** Code: unavailable when the node's cgroup is not there. */
  async make(node: string, name: string, limits: CgroupLimits): Promise<void> {
    try {
      if (this.layout === 'v2') await this.#delegate(node);
      await Promise.all(this.#folders(node, name).map((folder) => mkdir(folder).catch(ignore('EEXIST'))));
      await Promise.all(this.#limitFiles(node, name, limits).map(([file, value]) => writeFile(file, value)));
      await this.setMemory(node, name, limits.memoryBytes);
    } catch (error) {
      await this.remove(node, name);
      throw new NexusError('unavailable', 'the cgroup of the node takes no sandbox', { node }, { cause: error });
    }
  }

  async setMemory(node: string, name: string, bytes: number): Promise<void> {
    const memory = this.#folder('memory', node, name);
    if (this.layout === 'v2') {
      await writeFile(join(memory, 'memory.max'), String(bytes));
      // Not there on a kernel without swap.
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

  /** Below the root of the hierarchies: what a process writes 0 into to move itself there. */
  entrances(node: string, name: string): string[] {
    // A single thread that moves itself costs no wait for the whole machine; on v2 only processes can move.
    const file = this.layout === 'v2' ? 'cgroup.procs' : 'tasks';
    return this.#folders(node, name).map((folder) => join(folder, file).slice(this.root.length + 1));
  }

  async usage(node: string, name: string): Promise<CgroupUsage> {
    const memory = this.#folder('memory', node, name);
    const read = (file: string): Promise<string> => readFile(join(memory, file), 'utf8').catch(() => '');
    const isV2 = this.layout === 'v2';
    const [peak, events] = await Promise.all([
      read(isV2 ? 'memory.peak' : 'memory.max_usage_in_bytes'),
      read(isV2 ? 'memory.events' : 'memory.oom_control'),
    ]);
    return { peakMemoryBytes: Number(peak), oomKills: Number(/^oom_kill (\d+)$/m.exec(events)?.[1] ?? 0) };
  }

  /** Kills whatever is in it. Success when it is not there. Code: deadline_exceeded. */
  async remove(node: string, name: string): Promise<void> {
    const deadline = performance.now() + EMPTY_TIMEOUT_MS;
    for (const folder of this.#folders(node, name)) {
      while (!(await isGone(folder))) {
        await killAll(folder);
        if (performance.now() > deadline) throw new NexusError('deadline_exceeded', `${folder} does not get empty`);
        await new Promise((resolve) => setTimeout(resolve, EMPTY_POLL_MS));
      }
    }
  }

  /** Of every sandbox that any controller has made on the node. */
  async list(node: string): Promise<string[]> {
    const found = await Promise.all(
      this.#folders(node, '').map((folder): Promise<string[]> => readdir(folder).catch(() => [])),
    );
    return [...new Set(found.flat().filter((name) => name.startsWith(PREFIX)))];
  }

  static nameOf(controllerPid: number, count: number): string {
    return `${PREFIX}${controllerPid}-${count}`;
  }

  /** Children have limits only where the parent hands its controllers on. */
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

/** Removes it if it is empty. */
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

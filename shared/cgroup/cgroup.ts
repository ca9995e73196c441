/**
 * One cgroup of this host, on either layout: makes and removes it, finds and moves its processes, reads and limits it.
 * On v1 it is a folder in the hierarchy of each controller that nodes use. System errors are passed on: ENOENT means
 * that the cgroup, or its parent, is gone.
 */
import { existsSync, readdirSync, readFileSync, rmdirSync } from 'node:fs';
import { mkdir, readFile, rmdir, writeFile } from 'node:fs/promises';
import { dirname, join, relative } from 'node:path';
import { until } from '../async/wait.js';
import { NexusError } from '../errors.js';
import { fieldsIn, V1_FILES, type CgroupFile } from './figures.js';
import { CGROUP_ROOT, V1_CONTROLLERS, V1_HIERARCHIES, type CgroupLayout } from './layout.js';

export class Cgroup {
  constructor(
    readonly layout: CgroupLayout,
    /** As in an OCI configuration: absolute below the hierarchies' root, e.g. /nexus. */
    readonly path: string,
    private readonly root: string = CGROUP_ROOT,
  ) {}

  child(...names: readonly string[]): Cgroup {
    return new Cgroup(this.layout, join(this.path, ...names), this.root);
  }

  /** Succeeds if it exists. Never makes the parent, which would stay behind if it was just removed. */
  async make(): Promise<void> {
    for (const folder of this.#folders()) await mkdir(folder).catch(ignore('EEXIST'));
  }

  async add(pid: number): Promise<void> {
    for (const folder of this.#folders()) await writeFile(join(folder, 'cgroup.procs'), String(pid));
  }

  /** Files, relative to the root of the hierarchies, into which a process writes 0 to move itself into the cgroup. */
  entrances(): string[] {
    // Moving a single thread avoids a wait for the whole machine; on v2 only processes can move.
    const file = this.layout === 'v2' ? 'cgroup.procs' : 'tasks';
    return this.#folders().map((folder) => relative(this.root, join(folder, file)));
  }

  /** Ids of the processes in it, not of those in its children; none if it is gone. */
  async processes(): Promise<number[]> {
    const [folder = ''] = this.#folders();
    return await processesIn(folder);
  }

  /** Names of its children: those that have the file, or those in any hierarchy. */
  children(file?: CgroupFile): Promise<string[]> {
    const path = file === undefined ? undefined : this.#file(file);
    const found = (path === undefined ? this.#folders() : [dirname(path)]).flatMap(foldersIn);
    return Promise.resolve([...new Set(found)]);
  }

  /**
   * The file's text; empty if there is none. Read at once: the kernel answers from memory, and each of the four steps
   * of an asynchronous read wakes another thread, which is most of what watching costs.
   */
  read(file: CgroupFile): Promise<string> {
    const path = this.#file(file);
    return Promise.resolve(path === undefined ? '' : textOf(path));
  }

  /** Makes limits and counters of these controllers work in children, which v1 always does. */
  async delegate(...controllers: readonly ('memory' | 'pids' | 'cpu')[]): Promise<void> {
    await this.#write('cgroup.subtree_control', controllers.map((controller) => `+${controller}`).join(' '));
  }

  /** On v1 as the same number of shares. */
  async setCpuWeight(weight: number): Promise<void> {
    await this.#write('cpu.weight', String(weight));
  }

  /** 100 percent is one core. */
  async limitCpu(percent: number): Promise<void> {
    const quota = Math.round((percent / 100) * CPU_PERIOD_USEC);
    await this.#write('cpu.max', this.layout === 'v2' ? `${quota} ${CPU_PERIOD_USEC}` : String(quota));
  }

  async limitPids(count: number): Promise<void> {
    await this.#write('pids.max', String(count));
  }

  /** Code: EBUSY on v1 if it uses more than that now. */
  async limitMemory(bytes: number): Promise<void> {
    await this.#write('memory.max', String(bytes));
  }

  /**
   * Counts what sockets hold that are made in it from now on, and limits it; without `bytes` only its parents' limits
   * count. For v1, where the kernel counts it apart from other memory, and nowhere unless each cgroup asks for it: a
   * node could hold gigabytes of the host. On v2 it is part of the memory that is limited.
   */
  async limitSockets(bytes?: number): Promise<void> {
    if (this.layout === 'v2') return;
    const file = join(this.root, 'memory', this.path, 'memory.kmem.tcp.limit_in_bytes');
    // Some kernels are built without it. EBUSY: more is held now; the earlier limit stays.
    await writeFile(file, String(bytes ?? -1), { flag: 'r+' }).catch(ignore('ENOENT', 'EBUSY'));
  }

  /** Limits the memory, and allows no swap. */
  async limitMemoryAndSwap(bytes: number): Promise<void> {
    // Absent on a kernel without swap.
    const limitSwap = (value: number): Promise<void> =>
      this.#write('memory.swap.max', String(value)).catch(ignore('ENOENT', 'EACCES'));
    if (this.layout === 'v2') {
      await this.limitMemory(bytes);
      await limitSwap(0);
      return;
    }
    // Memory and swap together may never be below memory alone, so the order depends on the direction.
    try {
      await this.limitMemory(bytes);
      await limitSwap(bytes);
    } catch {
      await limitSwap(bytes);
      await this.limitMemory(bytes);
    }
  }

  /** Whether `killTogether` has an effect; v1 can't do that. */
  get canKillTogether(): boolean {
    return this.layout === 'v2';
  }

  /** If one process is killed for lack of memory, all are. */
  async killTogether(): Promise<void> {
    await this.#write('memory.oom.group', '1');
  }

  /** Number of its processes that were killed for lack of memory; undefined if the host does not count them. */
  async oomKills(): Promise<number | undefined> {
    const events = await this.read('memory.events');
    return events === '' ? undefined : fieldsIn(events, 'oom_kill');
  }

  /**
   * Whether a process was killed for lack of memory, and at whose limit. v2 counts separately whether the own limit was
   * reached; on v1 only the peak usage shows that.
   */
  async outOfMemory(): Promise<false | 'own limit' | 'limit above'> {
    const files = ['memory.peak', 'memory.events', 'memory.max'] as const;
    const [peak = '', events = '', limit = ''] = await Promise.all(files.map((file) => this.read(file)));
    if (fieldsIn(events, 'oom_kill') === 0) return false;
    const isOwn = this.layout === 'v2' ? fieldsIn(events, 'oom') > 0 : Number(peak) >= Number(limit) - V1_SLACK_BYTES;
    return isOwn ? 'own limit' : 'limit above';
  }

  /** Kills all its processes and removes it. Succeeds if it does not exist. Code: deadline_exceeded. */
  async destroy(): Promise<void> {
    for (const folder of this.#folders()) await removeFolder(folder, killIn);
  }

  /** Removes it with all below it, in every hierarchy, once its processes are gone. Code: deadline_exceeded. */
  async removeTree(): Promise<void> {
    for (const folder of this.#everywhere()) await removeFolders(folder);
  }

  /** Removes it where it has no process and no child. */
  async removeIfEmpty(): Promise<void> {
    for (const folder of this.#everywhere()) await rmdir(folder).catch(ignore('ENOENT', 'EBUSY', 'ENOTEMPTY'));
  }

  /** Does nothing for a file that this layout does not have. */
  async #write(file: CgroupFile, value: string): Promise<void> {
    const path = this.#file(file);
    if (path !== undefined) await writeFile(path, value);
  }

  #file(name: CgroupFile): string | undefined {
    if (this.layout === 'v2') return join(this.root, this.path, name);
    const place = V1_FILES[name];
    return place && join(this.root, place[0], this.path, place[1]);
  }

  #folders(): string[] {
    return this.#in(V1_CONTROLLERS);
  }

  #everywhere(): string[] {
    return this.#in(V1_HIERARCHIES);
  }

  #in(hierarchies: readonly string[]): string[] {
    if (this.layout === 'v2') return [join(this.root, this.path)];
    return hierarchies.map((hierarchy) => join(this.root, hierarchy, this.path));
  }
}

function textOf(path: string): string {
  try {
    return readFileSync(path, 'utf8');
  } catch {
    return '';
  }
}

const CPU_PERIOD_USEC = 100_000;

/** On v1, a cgroup may be refused memory this far below its limit: the kernel charges by batches. */
const V1_SLACK_BYTES = 1024 * 1024;

/** Killed processes count until the kernel has taken them apart, which takes milliseconds. */
const EMPTY_TIMEOUT_MS = 5000;
const EMPTY_POLL_MS = 2;

async function processesIn(folder: string): Promise<number[]> {
  const text = await readFile(join(folder, 'cgroup.procs'), 'utf8').catch(() => '');
  return text.split('\n').filter(Boolean).map(Number);
}

function foldersIn(folder: string): string[] {
  try {
    const entries = readdirSync(folder, { withFileTypes: true });
    return entries.filter((entry) => entry.isDirectory()).map(({ name }) => name);
  } catch {
    return [];
  }
}

async function removeFolders(folder: string): Promise<void> {
  // Most hosts with v1 lack some of the hierarchies.
  if (!existsSync(folder)) return;
  for (const name of foldersIn(folder)) await removeFolders(join(folder, name));
  await removeFolder(folder);
}

/** Tries until the folder is gone. */
async function removeFolder(folder: string, onBusy?: (folder: string) => Promise<void>): Promise<void> {
  const isRemoved = async (): Promise<boolean> => {
    if (isGone(folder)) return true;
    await onBusy?.(folder);
    return false;
  };
  if (!(await until(isRemoved, { everyMs: EMPTY_POLL_MS, withinMs: EMPTY_TIMEOUT_MS })))
    throw new NexusError('deadline_exceeded', `${folder} does not get empty`);
}

/** Removes the folder if it is empty. At once, as files are read: a node on v1 has some thirty of them. */
function isGone(folder: string): boolean {
  try {
    rmdirSync(folder);
    return true;
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    if (code === 'ENOENT') return true;
    if (code !== 'EBUSY') throw error;
    return false;
  }
}

async function killIn(folder: string): Promise<void> {
  for (const pid of await processesIn(folder)) {
    try {
      // 0: a process that this process' namespace does not see.
      if (pid > 0) process.kill(pid, 'SIGKILL');
    } catch {
      // Ended by itself in between.
    }
  }
}

/** Handles a rejection of a system call: passes on codes other than these. */
export const ignore =
  (...codes: readonly string[]) =>
  (error: NodeJS.ErrnoException): void => {
    if (!codes.includes(error.code ?? '')) throw error;
  };

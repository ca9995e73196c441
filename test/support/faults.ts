/** What goes wrong on a bad day, done to a real cluster with the kernel's own means; which node and when is up to chance. */
import { execFileSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { setTimeout as delay } from 'node:timers/promises';
import { eventually, type NodeJson, type TestCluster } from './cluster.js';

export const FAULTS = [
  'bus stopped',
  'bus killed',
  'bridge deleted',
  'address removed',
  'volume read-only',
  'volume shut down',
  'agent stopped',
  'agent killed',
  'controller killed',
] as const;
export type Fault = (typeof FAULTS)[number];

/** FS_IOC_SHUTDOWN without a flush of the journal: from then on everything on the file system says EIO. */
const SHUT_DOWN =
  'import fcntl,os,struct,sys; fcntl.ioctl(os.open(sys.argv[1], os.O_RDONLY), 0x8004587d, struct.pack("I", 2))';
/** Until there is something to do it to: all nodes may be starting just now. */
const POSSIBLE_WITHIN_MS = 90_000;

export class Faults {
  /** Of each node: how often its agent was killed. */
  readonly kills = new Map<string, number>();
  /** How often the controller was. */
  controllerEnds = 0;
  /** Volumes are mended ever later the more often they fail: one failure for each. */
  readonly #hurtVolumes = new Set<string>();
  readonly #continuing = new Set<Promise<void>>();

  constructor(
    private readonly cluster: TestCluster,
    private readonly chance: () => number,
  ) {}

  async happen(fault: Fault): Promise<void> {
    await eventually(
      () => this.#happen(fault),
      (wasPossible) => wasPossible,
      POSSIBLE_WITHIN_MS,
    );
  }

  /** What was stopped runs again, as far as it is still there. */
  async allContinued(): Promise<void> {
    await Promise.all(this.#continuing);
  }

  between(low: number, high: number): number {
    return low + this.chance() * (high - low);
  }

  /** Returns whether it could be done now. */
  async #happen(fault: Fault): Promise<boolean> {
    const bridge = `nx-${this.cluster.instance}`;
    switch (fault) {
      case 'bus stopped':
        // Beyond ten seconds it is replaced.
        return this.#stop(await this.#bus(), this.between(1000, 14_000));
      case 'bus killed':
        return send(await this.#bus(), 'SIGKILL');
      case 'bridge deleted':
        return isDone('ip', 'link', 'delete', 'dev', bridge);
      case 'address removed':
        return isDone('ip', 'address', 'flush', 'dev', bridge);
      case 'volume read-only':
        return await this.#hurtVolume(remountReadOnly);
      case 'volume shut down':
        return await this.#hurtVolume(shutDownVolume);
      case 'agent stopped':
        // Some become Suspect, some Lost.
        return this.#stop(agentOf(await this.#someNode()), this.between(1000, 15_000));
      case 'agent killed': {
        const node = await this.#someNode();
        if (node === undefined || !send(agentOf(node), 'SIGKILL')) return false;
        this.kills.set(node.name, (this.kills.get(node.name) ?? 0) + 1);
        return true;
      }
      case 'controller killed':
        this.controllerEnds += 1;
        await this.cluster.killController('SIGKILL');
        await delay(this.between(0, 2000));
        await this.cluster.startController();
        return true;
    }
  }

  async #bus(): Promise<number> {
    return (await this.cluster.json<{ nats: { pid: number } }>('status')).nats.pid;
  }

  async #someNode(isFit: (node: NodeJson) => boolean = () => true): Promise<NodeJson | undefined> {
    const nodes = await this.cluster.json<NodeJson[]>('node', 'ls');
    const fit = nodes.filter((node) => node.status === 'Running' && isFit(node));
    return fit[Math.floor(this.chance() * fit.length)];
  }

  async #hurtVolume(hurt: (pid: number) => boolean): Promise<boolean> {
    const node = await this.#someNode(({ name }) => !this.#hurtVolumes.has(name));
    if (node === undefined || !hurt(node.pid)) return false;
    this.#hurtVolumes.add(node.name);
    return true;
  }

  #stop(pid: number, forMs: number): boolean {
    if (!send(pid, 'SIGSTOP')) return false;
    const continuing = delay(forMs).then(() => {
      send(pid, 'SIGCONT');
      this.#continuing.delete(continuing);
    });
    this.#continuing.add(continuing);
    return true;
  }
}

/** Mounts the volume of a node read-only, as an operator would; `pid` is its container's. Returns whether it could. */
export function remountReadOnly(pid: number): boolean {
  const mount = ['mount', '-t', 'ext4', '-o', 'remount,ro', 'none', '/data'];
  return isDone('nsenter', '-t', String(pid), '-m', '/.nexus/rt/bin/busybox', ...mount);
}

/** Shuts the file system of a node's volume down; `pid` is its container's. Returns whether it could. */
export function shutDownVolume(pid: number): boolean {
  return isDone('python3', '-c', SHUT_DOWN, `/proc/${pid}/root/data`);
}

/** The first child of the container's init; 0: none is there. */
function agentOf(node: NodeJson | undefined): number {
  if (node === undefined) return 0;
  try {
    return Number(readFileSync(`/proc/${node.pid}/task/${node.pid}/children`, 'utf8').trim().split(' ')[0]);
  } catch {
    return 0;
  }
}

/** To 0 a signal would go to ourselves. */
function send(pid: number, signal: NodeJS.Signals): boolean {
  if (pid <= 1) return false;
  try {
    return process.kill(pid, signal);
  } catch {
    return false;
  }
}

function isDone(program: string, ...args: string[]): boolean {
  try {
    execFileSync(program, args, { stdio: 'ignore', timeout: 10_000 });
    return true;
  } catch {
    return false;
  }
}

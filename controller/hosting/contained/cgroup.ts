/**
 * A node's cgroup is a parent that carries the limits. Its children are the agent, the commands and the sandboxes, and
 * each command has a child of `commands`. runc makes and limits the parent; this makes the children, limits the memory
 * of all commands together and moves processes. Children are named relative to the node's cgroup.
 */
import { join } from 'node:path';
import { Cgroup, ignore } from '../../../shared/cgroup/cgroup.js';
import type { MemoryShares } from './memory-shares.js';
import { V1_CONTROLLERS, type CgroupLayout } from '../../../shared/cgroup/layout.js';

/** The parent of all commands of a node. */
export const COMMANDS = 'commands';

export class CgroupTree {
  readonly #parent: Cgroup;

  constructor(
    readonly layout: CgroupLayout,
    /** As in an OCI configuration: absolute below the hierarchy's root, e.g. /nexus. */
    parent: string,
    root?: string,
  ) {
    this.#parent = new Cgroup(layout, parent, root);
  }

  pathOf(node: string): string {
    return this.#parent.child(node).path;
  }

  /** Makes the child if it is missing, and moves the process into it. */
  async moveInto(node: string, child: string, pid: number): Promise<void> {
    const cgroup = this.#parent.child(node, child);
    await cgroup.make();
    await cgroup.limitSockets();
    await cgroup.add(pid);
  }

  /** Never makes the parent: it would stay behind if the node was just removed. Code: ENOENT, from the system. */
  async makeChild(node: string, child: string): Promise<void> {
    const cgroup = this.#parent.child(node, child);
    await cgroup.make();
    if (child !== COMMANDS) await cgroup.limitSockets();
  }

  /** Sets the weight of a running node's parent. */
  async setCpuWeight(node: string, weight: number): Promise<void> {
    await this.#parent.child(node).setCpuWeight(weight);
  }

  /**
   * Limits what commands take of the node's memory, and what sockets hold; makes the parent of all commands if it is
   * missing. Codes: ENOENT, EBUSY.
   */
  async limitCommands(node: string, shares: MemoryShares): Promise<void> {
    const commands = this.#parent.child(node, COMMANDS);
    await commands.make();
    await this.#parent.child(node).limitSockets(shares.socketsBytes);
    await commands.limitSockets(shares.commandSocketsBytes);
    await commands.limitMemory(shares.commandsBytes);
  }

  /** Moves all processes of one child into another, in rounds: forks during a round are found in the next. */
  async moveAll(node: string, from: string, to: string): Promise<void> {
    for (let round = 0; round < MAX_MOVE_ROUNDS; round += 1) {
      const pids = await this.processes(node, from);
      if (pids.length === 0) return;
      for (const pid of pids) await this.moveInto(node, to, pid).catch(ignore('ESRCH', 'ENOENT', 'ENODEV'));
    }
  }

  /** Names of the cgroups of commands, including ended ones. */
  async commands(node: string): Promise<string[]> {
    const names = await this.#parent.child(node, COMMANDS).children();
    return names.map((name) => join(COMMANDS, name));
  }

  /** Arguments that make `runc exec` start its command in the child. */
  execArguments(child: string): string[] {
    const names = this.layout === 'v2' ? [child] : V1_CONTROLLERS.map((controller) => `${controller}:${child}`);
    return names.flatMap((name) => ['--cgroup', name]);
  }

  /** Process ids in one child (not below it). */
  async processes(node: string, child: string): Promise<number[]> {
    return await this.#parent.child(node, child).processes();
  }

  /**
   * Makes the kernel count memory per child, as v1 always does: a command killed for lack of memory must not count as
   * the agent's end. Only possible while the parent itself has no process.
   */
  async countMemoryByChild(node: string): Promise<void> {
    await this.#parent.child(node).delegate('memory');
  }

  /** Number of processes of the child, or of the parent itself, killed for lack of memory; 0 if the cgroup is gone. */
  async oomKills(node: string, child: string): Promise<number> {
    const cgroup = this.#parent.child(node);
    const [all = 0, own] = await Promise.all([cgroup.oomKills(), cgroup.child(child).oomKills()]);
    // The parent's file on v2 counts the losses of all children; it is the only one if they are not counted separately.
    return this.layout === 'v2' ? (own ?? all) : all + (own ?? 0);
  }

  /**
   * Removes cgroups of commands whose processes have all ended, and skips those with processes. `kept`: commands that
   * have not ended, including those that are being started and have no process yet.
   */
  async pruneCommands(node: string, kept: ReadonlySet<string>): Promise<void> {
    for (const name of await this.commands(node)) {
      if (!kept.has(name)) await this.#parent.child(node, name).removeIfEmpty();
    }
  }

  /** Removes a node's whole tree once its processes are gone. */
  async removeTree(node: string): Promise<void> {
    await this.#parent.child(node).removeTree();
  }

  /** Removes the instance's parent when no node is left in it. */
  async removeParent(): Promise<void> {
    await this.#parent.removeIfEmpty();
  }
}

/** A round misses processes forked during it. More rounds than a node may have processes mean a kernel fault. */
const MAX_MOVE_ROUNDS = 1000;

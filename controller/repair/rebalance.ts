/**
 * Evens out how full the nodes are: each move is a copy to the emptier node, after which the one on the fuller node is
 * the one too many. Redundancy never falls, and a move that is cut off leaves a copy too many, which repair trims.
 */
import { NexusError } from '../../shared/errors.js';
import type { ChunkId, NodeId } from '../../shared/ids.js';
import { CHUNK_SIZE_BYTES } from '../../shared/limits.js';
import { roomFor } from '../file/plan.js';
import type { StorageNode } from '../file/nodes.js';
import type { StoredChunk } from '../store/port/replicas.js';
import { imbalance, nextShift, type Load, type Shift } from './balance.js';
import type { RepairDeps } from './deps.js';
import type { Repair } from './repair.js';

/** Chunks of a node looked through at once for one that the other does not have. */
const PAGE = 200;

export interface RebalanceProgress {
  readonly movedChunks: number;
  readonly movedBytes: number;
  /** Difference between the fullest and the emptiest node, percent of their volumes. */
  readonly imbalancePercent: number;
  readonly isFinished: boolean;
}

interface Move extends Shift {
  readonly chunk: StoredChunk;
}

export class Rebalance {
  #isRunning = false;

  constructor(
    private readonly deps: RepairDeps,
    private readonly repair: Repair,
    /** There are copies to delete. */
    private readonly kickDeletion: () => void,
  ) {}

  /** Codes: failed_precondition (running already, fewer than two nodes, copies are lacking), cancelled. */
  async run(signal: AbortSignal, tell: (progress: RebalanceProgress) => Promise<void>): Promise<void> {
    if (this.#isRunning)
      throw new NexusError('failed_precondition', 'a rebalance is running already; wait for its end');
    this.#isRunning = true;
    try {
      await this.#run(signal, tell);
    } finally {
      this.#isRunning = false;
      this.repair.wandering.clear();
    }
  }

  async #run(signal: AbortSignal, tell: (progress: RebalanceProgress) => Promise<void>): Promise<void> {
    const places = this.#places();
    if (places.length < 2) {
      throw new NexusError('failed_precondition', 'a rebalance needs two running, uncordoned nodes; create nodes');
    }
    const loads = await this.#loads(places);
    let movedChunks = 0;
    let movedBytes = 0;
    const progress = (isFinished: boolean): RebalanceProgress => ({
      movedChunks,
      movedBytes,
      imbalancePercent: imbalance([...loads.values()]) * 100,
      isFinished,
    });
    while (!signal.aborted) {
      const moves = await this.#nextMoves(loads);
      if (moves.length === 0) break;
      const done = await Promise.all(moves.map((move) => this.#move(move, loads)));
      // Nobody could take anything: the next round would only fail again.
      if (!done.includes(true)) break;
      movedChunks += done.filter(Boolean).length;
      movedBytes += moves.reduce((sum, { chunk }, at) => sum + (done[at] === true ? chunk.size : 0), 0);
      await tell(progress(false));
    }
    if (signal.aborted) throw new NexusError('cancelled', 'the rebalance was cancelled; what was moved stays moved');
    const said = `${movedChunks} chunk(s), ${movedBytes} bytes, were moved to emptier nodes`;
    await this.deps.events.append('rebalance.finished', 'cluster', said);
    await tell(progress(true));
  }

  #places(): StorageNode[] {
    return this.deps.nodes.snapshot().filter((node) => node.schedulable && node.capacityBytes > 0);
  }

  /** Counted from the catalogue once, then carried along: reports come too late for that. */
  async #loads(places: readonly StorageNode[]): Promise<Map<NodeId, Load>> {
    const loads = new Map<NodeId, Load>();
    for (const { id, name, capacityBytes } of places) {
      let usedBytes = 0;
      for (let after = ''; ;) {
        const page = await this.deps.replicas.readyOn(id, { after, limit: 1000 });
        usedBytes += page.reduce((sum, chunk) => sum + chunk.size, 0);
        if (page.length < 1000) break;
        after = page.at(-1)?.id ?? '';
      }
      loads.set(id, { id, name, usedBytes, capacityBytes });
    }
    return loads;
  }

  /** As many as may be copied at once. */
  async #nextMoves(loads: Map<NodeId, Load>): Promise<Move[]> {
    const planned = new Map(loads);
    const chosen = new Set<ChunkId>();
    const fruitless = new Set<string>();
    const moves: Move[] = [];
    while (moves.length < this.deps.settings.repairConcurrency) {
      const shift = nextShift([...planned.values()], ({ from, to }) => !fruitless.has(`${from.id}>${to.id}`));
      if (shift === undefined) break;
      const chunk = await this.#movable(shift, chosen);
      if (chunk === undefined) {
        fruitless.add(`${shift.from.id}>${shift.to.id}`);
        continue;
      }
      chosen.add(chunk.id);
      moves.push({ ...shift, chunk });
      carry(planned, shift, CHUNK_SIZE_BYTES);
    }
    return moves;
  }

  async #movable({ from, to }: Shift, chosen: ReadonlySet<ChunkId>): Promise<StoredChunk | undefined> {
    const target = this.deps.nodes.find(to.id);
    if (target?.schedulable !== true || roomFor(target) < 1) return undefined;
    for (let after = ''; ;) {
      const page = await this.deps.replicas.readyOn(from.id, { after, limit: PAGE });
      for (const { id } of page) {
        if (chosen.has(id) || this.repair.copier.avoids(id, to.id)) continue;
        const chunk = await this.deps.replicas.find(id);
        if (chunk !== undefined && !chunk.replicas.some((copy) => copy.nodeId === to.id)) return chunk;
      }
      if (page.length < PAGE) return undefined;
      after = page.at(-1)?.id ?? '';
    }
  }

  async #move({ chunk, from, to }: Move, loads: Map<NodeId, Load>): Promise<boolean> {
    this.repair.wandering.set(chunk.id, from.id);
    try {
      const reason = `moved from ${from.name} by a rebalance: ${to.name} was emptier`;
      const planned = { chunk, isEndangered: false, target: to.id, sources: [from.id], reason };
      const isCopied = await this.repair.copier.copy(planned);
      if (!isCopied) return false;
      const here = this.deps.nodes.snapshot().filter((node) => node.standing === 'here');
      const among = here.map((node) => node.id);
      await this.deps.replicas.dropSurplus({ chunkId: chunk.id, nodeId: from.id }, among, chunk.wanted);
      this.kickDeletion();
      carry(loads, { from, to }, chunk.size);
      return true;
    } finally {
      this.repair.wandering.delete(chunk.id);
    }
  }
}

function carry(loads: Map<NodeId, Load>, { from, to }: Shift, bytes: number): void {
  for (const [load, change] of [
    [from, -bytes],
    [to, bytes],
  ] as const) {
    const current = loads.get(load.id);
    if (current !== undefined) loads.set(load.id, { ...current, usedBytes: current.usedBytes + change });
  }
}

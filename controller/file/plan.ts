/**
 * Places chunks: pure, from a snapshot of the nodes. Copies are dealt like cards, one node after the other, to the
 * schedulable nodes with room: the copies of one chunk are on different nodes, and the nodes' shares differ by one chunk at
 * most. Which copy of a chunk is the first (the one that is sent to, and forwards) changes with each lap.
 */
import type { Advice } from '../../shared/advice/advice.js';
import { NexusError } from '../../shared/errors.js';
import { formatBytes } from '../../shared/format-bytes.js';
import type { NodeId } from '../../shared/ids.js';
import { CHUNK_SIZE_BYTES, MIB } from '../../shared/limits.js';

export interface Candidate {
  readonly id: NodeId;
  readonly name: string;
  readonly schedulable: boolean;
  /** Why a running, uncordoned node is not schedulable. */
  readonly unfit?: string;
  /** Free bytes less those promised to chunks that are still being written. */
  readonly freeBytes: number;
  /** The host's disk has less left for the volume than the volume promises. */
  readonly isBoundByHost?: boolean;
  /** Free inodes, likewise reduced; Infinity: not counted. */
  readonly freeInodes: number;
}

/** New places for one chunk whose nodes failed. */
export interface MoveWish {
  readonly replicas: number;
  /** Least number of new copies; default: all. */
  readonly least?: number;
  /** Nodes that have, had or just failed to take a copy. */
  readonly without: ReadonlySet<NodeId>;
}

export interface PlacementRequest {
  readonly nodes: readonly Candidate[];
  /** Where dealing continues: steps around the nodes so far, skipped ones included. */
  readonly cursor: number;
  /** Number of new chunks. If room runs out, fewer are placed, but at least one. */
  readonly chunks: number;
  readonly replicas: number;
  /** Small files that share the place of one chunk; default: 1. */
  readonly filesPerChunk?: number;
  /** Least number of copies per chunk, where too few nodes are left for all; default: all. */
  readonly least?: number;
  /** Each is granted before any new chunk. */
  readonly moves?: readonly MoveWish[];
}

export interface Placement {
  /** The nodes of each new chunk; the first is the one to send to. */
  readonly chunks: readonly (readonly NodeId[])[];
  /** The new nodes of each move. */
  readonly moves: readonly (readonly NodeId[])[];
  readonly cursor: number;
  /** Nodes with room. */
  readonly considered: number;
  /** Why nodes were not considered, by node name. */
  readonly passedOver: Readonly<Record<string, string>>;
}

/** Bytes kept free on every volume, so that deletions and the file system's own tables never lack room. */
export const NODE_RESERVE_BYTES = 4 * MIB;

/** Inodes kept free likewise: a node needs some to start, and an agent to write anything. */
export const NODE_RESERVE_INODES = 64;
/** Inodes of a chunk, its sidecar, and the folder where it is the first chunk. */
export const INODES_PER_CHUNK = 3;

/** Number of whole chunks that fit; negative when less than the reserve is free. */
export const roomFor = (
  { freeBytes, freeInodes }: Pick<Candidate, 'freeBytes' | 'freeInodes'>,
  filesPerChunk = 1,
): number =>
  Math.min(
    Math.floor((freeBytes - NODE_RESERVE_BYTES) / CHUNK_SIZE_BYTES),
    Math.floor((freeInodes - NODE_RESERVE_INODES) / (INODES_PER_CHUNK * filesPerChunk)),
  );

/**
 * Codes: failed_precondition (fewer running nodes than copies), resource_exhausted (too few with room), unavailable
 * (nothing but failed nodes is left for a move).
 */
export function planPlacement(request: PlacementRequest): Placement {
  const dealer = new Dealer(request.nodes, request.cursor, request.filesPerChunk);
  const moves = (request.moves ?? []).map((wish) => {
    const chosen = dealer.dealAtLeast(wish.least ?? wish.replicas, wish.replicas, wish.without);
    if (chosen === undefined) throw dealer.refusal(wish.replicas, wish.without);
    return chosen;
  });
  const chunks: NodeId[][] = [];
  while (chunks.length < request.chunks) {
    const chosen = dealer.dealAtLeast(request.least ?? request.replicas, request.replicas);
    if (chosen !== undefined) chunks.push(chosen);
    else if (chunks.length > 0) break;
    else throw dealer.refusal(request.replicas);
  }
  const passedOver = dealer.passedOver();
  const considered = request.nodes.length - Object.keys(passedOver).length;
  return { chunks, moves, cursor: dealer.cursor, considered, passedOver };
}

/** Checks whether a file of this size could be placed now. Codes: those of planPlacement. */
export function assertRoomForFile(nodes: readonly Candidate[], replicas: number, sizeBytes: number): void {
  const chunks = Math.max(1, Math.ceil(sizeBytes / CHUNK_SIZE_BYTES));
  planPlacement({ nodes, cursor: 0, chunks: 1, replicas });
  // A node takes one copy of each chunk, so room beyond the number of chunks is of no use.
  const places = nodes
    .filter((node) => node.schedulable)
    .reduce((sum, node) => sum + Math.min(chunks, Math.max(0, roomFor(node))), 0);
  if (places >= chunks * replicas) return;
  const fits = Math.floor(places / replicas) * CHUNK_SIZE_BYTES;
  throw new NexusError(
    'resource_exhausted',
    `a file of ${formatBytes(sizeBytes)} with ${replicas} replica(s) does not fit: the nodes have room for ${formatBytes(fits)}; ${adviceFor(nodes)}`,
    { needed_bytes: sizeBytes, free_bytes: fits },
  );
}

class Dealer {
  readonly #ring: readonly Candidate[];
  readonly #room: Map<NodeId, number>;

  constructor(
    private readonly nodes: readonly Candidate[],
    public cursor: number,
    filesPerChunk = 1,
  ) {
    this.#ring = nodes.filter((node) => node.schedulable);
    this.#room = new Map(this.#ring.map((node) => [node.id, roomFor(node, filesPerChunk)]));
  }

  /** Deals as many copies as possible, from `replicas` down to `least`. */
  dealAtLeast(least: number, replicas: number, without?: ReadonlySet<NodeId>): NodeId[] | undefined {
    for (let count = replicas; count >= least; count -= 1) {
      const chosen = this.deal(count, without);
      if (chosen !== undefined) return chosen;
    }
    return undefined;
  }

  /** Deals to the next `replicas` nodes with room; if there are too few, returns undefined and deals nothing. */
  deal(replicas: number, without?: ReadonlySet<NodeId>): NodeId[] | undefined {
    const size = this.#ring.length;
    const chosen: NodeId[] = [];
    let step = 0;
    for (; step < size && chosen.length < replicas; step += 1) {
      const node = this.#ring[(this.cursor + step) % size];
      if (node !== undefined && without?.has(node.id) !== true && this.#hasRoom(node)) chosen.push(node.id);
    }
    if (chosen.length < replicas) return undefined;
    for (const id of chosen) this.#room.set(id, (this.#room.get(id) ?? 0) - 1);
    const lap = replicas === 0 ? 0 : Math.floor(this.cursor / size) % replicas;
    this.cursor += step;
    return [...chosen.slice(lap), ...chosen.slice(0, lap)];
  }

  #hasRoom(node: Candidate): boolean {
    return (this.#room.get(node.id) ?? 0) >= 1;
  }

  passedOver(without?: ReadonlySet<NodeId>): Record<string, string> {
    const why: Record<string, string> = {};
    for (const node of this.nodes) {
      if (!node.schedulable) why[node.name] = node.unfit ?? 'not running, or cordoned';
      else if (without?.has(node.id) === true) why[node.name] = 'has the chunk, or failed to store it';
      else if (!this.#hasRoom(node)) why[node.name] = `no room for a chunk (${freeOf(node)})`;
    }
    return why;
  }

  /** Error for a deal that found too few nodes. */
  refusal(replicas: number, without?: ReadonlySet<NodeId>): NexusError {
    const why = Object.entries(this.passedOver(without)).map(([name, reason]) => `${name}: ${reason}`);
    const details = { passed_over: why.slice(0, 20) };
    const running = this.#ring.length;
    const unfit = this.nodes.filter((node) => node.unfit !== undefined);
    const reasons = unfit.slice(0, 3).map((node) => `node ${node.name}: ${node.unfit}`);
    const repair = reasons.length === 0 ? '' : `; repair what fails (${reasons.join('; ')})`;
    const status: Advice[] = repair === '' ? [] : [{ key: 'see-status' }];
    if (running === 0) {
      const advice: Advice[] = [...status, { key: repair === '' ? 'create-node' : 'create-another-node' }];
      const message = `no node accepts data: none is running and uncordoned${repair}`;
      return new NexusError('failed_precondition', message, details, { advice });
    }
    if (running < replicas) {
      const message = `${replicas} replicas need as many running nodes, and there are ${running}; create nodes or ask for fewer replicas${repair === '' ? '' : `, or${repair.slice(1)}`}`;
      return new NexusError('failed_precondition', message, details, { advice: status });
    }
    const eligible = this.#ring.filter((node) => without?.has(node.id) !== true);
    if (eligible.length < replicas) {
      const message = 'no other running node can store the chunk; start or create one';
      return new NexusError('unavailable', message, details);
    }
    const full = eligible.filter((node) => !this.#hasRoom(node));
    if (full.every((node) => node.freeInodes - NODE_RESERVE_INODES < INODES_PER_CHUNK)) {
      const emptiest = Math.max(0, ...full.map((node) => node.freeInodes));
      const message = `no room for another chunk: ${full.length} of ${eligible.length} nodes have too few free inodes (${emptiest} at the most); remove files or create nodes`;
      return new NexusError('resource_exhausted', message, details);
    }
    const free = Math.max(0, ...full.map((node) => node.freeBytes));
    const needed = CHUNK_SIZE_BYTES + NODE_RESERVE_BYTES;
    const roomy = eligible.length - full.length;
    const message =
      `no room for another chunk: ${replicas} node(s) with ${formatBytes(needed)} free are needed (a chunk and what ` +
      `stays free), ${roomy} of ${eligible.length} have that much, and the emptiest of the others has ` +
      `${formatBytes(free)}; ${adviceFor(full)}${roomy === 0 ? '' : ', or ask for fewer replicas'}`;
    return new NexusError('resource_exhausted', message, { ...details, needed_bytes: needed, free_bytes: free });
  }
}

/** Advises against more nodes on a host disk that is full: they would have no room either. */
const adviceFor = (nodes: readonly Candidate[]): string =>
  nodes.some(({ isBoundByHost }) => isBoundByHost === true)
    ? "the host's disk under the volumes is nearly full: make room on it"
    : 'remove files or create nodes';

/** Describes the room of a node that has too little: inodes if these run short, else bytes. For people. */
const freeOf = ({ freeBytes, freeInodes }: Candidate): string =>
  freeInodes - NODE_RESERVE_INODES < INODES_PER_CHUNK
    ? `${Math.max(0, freeInodes)} inodes free`
    : `${formatBytes(Math.max(0, freeBytes))} free`;

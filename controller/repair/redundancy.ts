/**
 * Judges how many copies a chunk lacks, and plans where they go: pure, from a snapshot of the nodes. A copy counts if
 * it is whole and its node stays; a copy on a draining node is a source until enough others exist; a copy on a node
 * that is Lost or Failed does not count until the node is back, when copies beyond the wanted number are removed.
 */
import type { ChunkId, NodeId } from '../../shared/ids.js';
import { roomFor } from '../file/plan.js';
import type { StorageNode } from '../file/nodes.js';
import type { StoredChunk } from '../store/port/replicas.js';

export interface Verdict {
  readonly chunk: StoredChunk;
  /** Copies still to be started. */
  readonly lacking: number;
  /** Whole copies that can be reached now or once their node starts; the fewer, the more urgent. */
  readonly left: number;
  /** Nodes with a whole copy that can be read now. */
  readonly sources: readonly NodeId[];
  /** Whole copies beyond the wanted number, in the order of their removal. */
  readonly surplus: readonly NodeId[];
  /** Copies known to be damaged or gone, if a whole one is elsewhere. */
  readonly bad: readonly NodeId[];
  /** The draining node that the copy replaces; undefined: it is a repair. */
  readonly movesOff: NodeId | undefined;
}

export type NodesById = ReadonlyMap<NodeId, StorageNode>;

/** `wanders`: the node that a rebalance moves the chunk off; its copy is the first to be removed as surplus. */
export function judge(chunk: StoredChunk, nodes: NodesById, wanders?: NodeId): Verdict {
  const ready = chunk.replicas.filter((copy) => copy.state === 'ready').map((copy) => copy.nodeId);
  const standing = (id: NodeId): StorageNode['standing'] => nodes.get(id)?.standing ?? 'away';
  const staying = ready.filter((id) => standing(id) === 'here');
  const leaving = ready.filter((id) => standing(id) === 'leaving');
  const coming = chunk.replicas.filter((copy) => copy.state === 'writing' && standing(copy.nodeId) === 'here').length;
  const present = [...staying, ...leaving];
  const tooMany = Math.max(0, staying.length - chunk.wanted);
  const bad = chunk.replicas.filter((copy) => copy.state === 'missing' || copy.state === 'corrupt');
  return {
    chunk,
    lacking: Math.max(0, chunk.wanted - staying.length - coming),
    left: present.length,
    sources: present.filter((id) => nodes.get(id)?.readable === true),
    surplus: [
      ...(staying.length >= chunk.wanted ? leaving : []),
      ...byFullness(staying, nodes, wanders).slice(0, tooMany),
    ],
    bad: present.length > 0 ? bad.map((copy) => copy.nodeId) : [],
    movesOff: present.length >= chunk.wanted ? leaving[0] : undefined,
  };
}

/** Sorts the copy that is moved away first, then by the least free bytes. */
function byFullness(ids: readonly NodeId[], nodes: NodesById, wanders: NodeId | undefined): NodeId[] {
  const free = (id: NodeId): number => (id === wanders ? -Infinity : (nodes.get(id)?.freeBytes ?? 0));
  return [...ids].sort((one, other) => free(one) - free(other));
}

/** Sorts the most endangered first; drains come after repairs, as nothing is lost while they wait. */
export const byUrgency = (one: Verdict, other: Verdict): number =>
  Number(one.movesOff !== undefined) - Number(other.movesOff !== undefined) ||
  one.left - other.left ||
  (one.chunk.id < other.chunk.id ? -1 : 1);

/** True if one more failure would lose the chunk. */
export const isEndangered = ({ left, chunk }: Verdict): boolean => left === 1 && chunk.wanted > 1;

export interface PlannedCopy {
  readonly chunk: StoredChunk;
  readonly isEndangered: boolean;
  readonly target: NodeId;
  readonly sources: readonly NodeId[];
  readonly reason: string;
}

export interface CopyPlan {
  readonly copies: readonly PlannedCopy[];
  /** Why some copies can't be made now, by chunk. */
  readonly blocked: ReadonlyMap<ChunkId, string>;
}

/** Plans copies in the given order, each to the roomiest node without one. `avoid` names pairs that failed lately. */
export function planCopies(
  verdicts: readonly Verdict[],
  nodes: NodesById,
  avoid: (chunk: ChunkId, node: NodeId) => boolean,
): CopyPlan {
  const room = new Map([...nodes.values()].map((node) => [node.id, roomFor(node)]));
  const copies: PlannedCopy[] = [];
  const blocked = new Map<ChunkId, string>();
  for (const verdict of verdicts) {
    const taken = new Set(verdict.chunk.replicas.map((copy) => copy.nodeId));
    for (let missing = verdict.lacking; missing > 0; missing -= 1) {
      const target = roomiest(nodes, room, (id) => taken.has(id) || avoid(verdict.chunk.id, id));
      if (verdict.sources.length === 0 || target === undefined) {
        blocked.set(verdict.chunk.id, whyBlocked(verdict, nodes, taken));
        break;
      }
      taken.add(target.id);
      room.set(target.id, (room.get(target.id) ?? 0) - 1);
      copies.push({
        chunk: verdict.chunk,
        isEndangered: isEndangered(verdict),
        target: target.id,
        sources: verdict.sources,
        reason: reasonOf(verdict, nodes, target.name),
      });
    }
  }
  return { copies, blocked };
}

function roomiest(
  nodes: NodesById,
  room: ReadonlyMap<NodeId, number>,
  isExcluded: (id: NodeId) => boolean,
): StorageNode | undefined {
  let best: StorageNode | undefined;
  for (const node of nodes.values()) {
    if (!node.schedulable || isExcluded(node.id) || (room.get(node.id) ?? 0) < 1) continue;
    if (best === undefined || (room.get(node.id) ?? 0) > (room.get(best.id) ?? 0)) best = node;
  }
  return best;
}

function reasonOf({ chunk, left, movesOff }: Verdict, nodes: NodesById, target: string): string {
  if (movesOff !== undefined) {
    const from = nodes.get(movesOff)?.name ?? movesOff;
    return `moved off ${from}, which was drained; of the nodes without a copy ${target} had most room`;
  }
  return `repair, when ${left} of ${chunk.wanted} copies were left; of the nodes without one ${target} had most room`;
}

function whyBlocked({ chunk, sources }: Verdict, nodes: NodesById, taken: ReadonlySet<NodeId>): string {
  if (sources.length === 0) {
    const holders = chunk.replicas.filter((copy) => copy.state === 'ready').map((copy) => copy.nodeId);
    const names = holders.map((id) => nodes.get(id)?.name ?? id);
    if (names.length === 0) return 'no intact copy is left; store the file again if you have it';
    return `the remaining copies are on ${names.join(', ')}, which cannot be read; start or restart those`;
  }
  const others = [...nodes.values()].filter((node) => node.schedulable && !taken.has(node.id));
  return others.length === 0
    ? 'there is no other running, uncordoned node; add, start or uncordon one'
    : 'the other nodes have no room, or rejected it a moment ago; add one, or make room';
}

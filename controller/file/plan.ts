/**
 * Where chunks go: pure, from a snapshot of the nodes. Round robin over the schedulable nodes with room; the copies of
 * one chunk are on different nodes, and the first of them rotates, so that the nodes' shares differ by one chunk at most.
 */
import { NexusError } from '../../shared/errors.js';
import type { NodeId } from '../../shared/ids.js';
import { CHUNK_SIZE_BYTES, MIB } from '../../shared/limits.js';

export interface Candidate {
  readonly id: NodeId;
  readonly name: string;
  readonly schedulable: boolean;
  /** Less what is promised to chunks that are still being written. */
  readonly freeBytes: number;
}

export interface PlacementRequest {
  readonly nodes: readonly Candidate[];
  /** Where the round robin goes on: the number of chunks placed so far. */
  readonly cursor: number;
  readonly chunks: number;
  readonly replicas: number;
  /** Not to be used, e.g. because they just failed. */
  readonly without?: ReadonlySet<NodeId>;
}

export interface Placement {
  /** For each chunk its nodes; the first is the one to send to. */
  readonly nodeIds: readonly (readonly NodeId[])[];
  readonly cursor: number;
  /** Why a node was not considered, by name. */
  readonly passedOver: Readonly<Record<string, string>>;
}

/** Stays free on every volume, so that deletions and the file system's own tables never lack room. */
export const NODE_RESERVE_BYTES = 4 * MIB;

/** Codes: failed_precondition (too few nodes), resource_exhausted (too few with room). */
export function planPlacement(request: PlacementRequest): Placement {
  const passedOver: Record<string, string> = {};
  const free = new Map<NodeId, number>();
  for (const node of request.nodes) {
    if (!node.schedulable) passedOver[node.name] = 'not schedulable';
    else if (request.without?.has(node.id) === true) passedOver[node.name] = 'failed a moment ago';
    else if (roomFor(node.freeBytes) < 1) passedOver[node.name] = 'no room for a chunk';
    else free.set(node.id, node.freeBytes);
  }
  const nodeIds: NodeId[][] = [];
  let { cursor } = request;
  for (let chunk = 0; chunk < request.chunks; chunk += 1) {
    const chosen = choose([...free.keys()], cursor, request.replicas);
    if (chosen === undefined) throw noPlace(request, free.size, passedOver);
    for (const id of chosen) {
      const left = (free.get(id) ?? 0) - CHUNK_SIZE_BYTES;
      if (roomFor(left) < 1) free.delete(id);
      else free.set(id, left);
    }
    nodeIds.push(chosen);
    cursor += 1;
  }
  return { nodeIds, cursor, passedOver };
}

/** Whole chunks that fit. */
export const roomFor = (freeBytes: number): number => Math.floor((freeBytes - NODE_RESERVE_BYTES) / CHUNK_SIZE_BYTES);

function choose(ids: readonly NodeId[], cursor: number, replicas: number): NodeId[] | undefined {
  if (ids.length < replicas) return undefined;
  return Array.from({ length: replicas }, (_, copy) => ids[(cursor + copy) % ids.length]).filter(
    (id) => id !== undefined,
  );
}

function noPlace(
  request: PlacementRequest,
  withRoom: number,
  passedOver: Readonly<Record<string, string>>,
): NexusError {
  const schedulable = request.nodes.filter((node) => node.schedulable).length;
  if (schedulable === 0) {
    const advice = 'create one with: nexus node create NAME --storage 1G';
    return new NexusError('failed_precondition', `no node can take data: none is running and uncordoned; ${advice}`);
  }
  if (schedulable < request.replicas) {
    return new NexusError(
      'failed_precondition',
      `${request.replicas} replicas need as many running nodes, and there are ${schedulable}; create nodes or ask for fewer replicas`,
    );
  }
  const why = Object.entries(passedOver).map(([name, reason]) => `${name}: ${reason}`);
  return new NexusError(
    'resource_exhausted',
    `no room for another chunk: ${withRoom} of ${schedulable} nodes have room and ${request.replicas} are needed; remove files or create nodes`,
    { passed_over: why.slice(0, 20) },
  );
}

/** Codes: those of planPlacement. Whether a file of this size could be placed now. */
export function assertRoomForFile(nodes: readonly Candidate[], replicas: number, sizeBytes: number): void {
  const chunks = Math.ceil(sizeBytes / CHUNK_SIZE_BYTES);
  planPlacement({ nodes, cursor: 0, chunks: Math.min(chunks, 1), replicas });
  const room = nodes
    .filter((node) => node.schedulable)
    .reduce((sum, node) => sum + Math.max(0, roomFor(node.freeBytes)), 0);
  if (chunks * replicas <= room) return;
  const has = room * CHUNK_SIZE_BYTES;
  throw new NexusError(
    'resource_exhausted',
    `a file of ${sizeBytes} bytes with ${replicas} replica(s) does not fit: the nodes have room for ${has} bytes; remove files or create nodes`,
  );
}

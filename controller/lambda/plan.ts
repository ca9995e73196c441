/**
 * Where an invocation goes: pure. Nodes are filtered by state and free memory, then scored: a prewarmed sandbox first,
 * then the most free memory for each that already runs there.
 */
import type { NodeId } from '../../shared/ids.js';
import { RESERVED_SHARE } from './limits.js';

export interface LambdaNode {
  readonly id: NodeId;
  readonly name: string;
  /** Running, and neither cordoned nor draining nor being left. */
  readonly unfit: string | undefined;
  readonly memoryBytes: number;
  readonly usedBytes: number;
  /** Reserved by the invocations that run on it. */
  readonly reservedBytes: number;
  readonly running: number;
  /** Prewarmed sandboxes that wait on it. */
  readonly warm: number;
}

export type PlacementPlan =
  | { readonly kind: 'place'; readonly node: LambdaNode; readonly reason: string }
  /** Room comes back when something ends. */
  | { readonly kind: 'wait'; readonly reasons: Readonly<Record<string, string>> }
  /** No node could ever take it as things are. */
  | { readonly kind: 'refuse'; readonly reasons: Readonly<Record<string, string>> };

export const reserveFor = (memoryBytes: number): number => Math.ceil(memoryBytes * RESERVED_SHARE);

const freeOf = (node: LambdaNode): number => node.memoryBytes - node.usedBytes - node.reservedBytes;

/** `only`: the node that the caller names. */
export function planPlacement(nodes: readonly LambdaNode[], memoryBytes: number, only?: NodeId): PlacementPlan {
  const need = reserveFor(memoryBytes);
  const reasons: Record<string, string> = {};
  const fit: LambdaNode[] = [];
  let mayChange = false;
  for (const node of nodes) {
    if (only !== undefined && node.id !== only) continue;
    const why = whyNot(node, memoryBytes, need);
    if (why === undefined) {
      fit.push(node);
      continue;
    }
    reasons[node.name] = why;
    mayChange ||= node.unfit === undefined && node.running > 0 && node.memoryBytes >= memoryBytes;
  }
  const best = fit.reduce<LambdaNode | undefined>(
    (one, other) => (one === undefined || isBetter(other, one) ? other : one),
    undefined,
  );
  if (best !== undefined) return { kind: 'place', node: best, reason: reasonFor(best) };
  return { kind: mayChange ? 'wait' : 'refuse', reasons };
}

function whyNot(node: LambdaNode, memoryBytes: number, need: number): string | undefined {
  if (node.unfit !== undefined) return node.unfit;
  if (node.memoryBytes < memoryBytes) return `has ${megabytes(node.memoryBytes)} in all`;
  if (freeOf(node) < need) return `has ${megabytes(Math.max(0, freeOf(node)))} free, ${megabytes(need)} are needed`;
  return undefined;
}

function isBetter(one: LambdaNode, other: LambdaNode): boolean {
  if (one.warm > 0 !== other.warm > 0) return one.warm > 0;
  return freeOf(one) / (one.running + 1) > freeOf(other) / (other.running + 1);
}

const reasonFor = (node: LambdaNode): string =>
  `${node.warm > 0 ? 'a warm sandbox waits there' : 'the most free memory'}: ${megabytes(freeOf(node))} free, ${node.running} running`;

const megabytes = (bytes: number): string => `${Math.floor(bytes / 2 ** 20)} MB`;

/** How the pool's sandboxes are spread: one after the other to the node with the fewest that still has room. */
export function planPool(
  nodes: readonly LambdaNode[],
  target: number,
  memoryBytes: number,
): ReadonlyMap<NodeId, number> {
  const wanted = new Map(nodes.map((node) => [node.id, 0]));
  const need = reserveFor(memoryBytes);
  const fit = nodes.filter((node) => whyNot(node, memoryBytes, need) === undefined);
  for (let count = 0; count < target && fit.length > 0; count += 1) {
    const least = fit.reduce((one, other) => ((wanted.get(other.id) ?? 0) < (wanted.get(one.id) ?? 0) ? other : one));
    wanted.set(least.id, (wanted.get(least.id) ?? 0) + 1);
  }
  return wanted;
}

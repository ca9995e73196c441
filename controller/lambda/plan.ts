/**
 * Where an invocation goes: pure. Sandboxes that run beside each other have their whole limits reserved: together they
 * can't bring their node out of memory, so that what one does never ends another. A node that can't hold the whole limit
 * takes an invocation that is alone there; if its memory runs out before the limit, nobody else's code pays. Then nodes
 * are scored: the whole limit fits, a prewarmed sandbox waits, the most free memory for each that already runs there.
 */
import type { NodeId } from '../../shared/ids.js';
import { LEAST_SHARE, WARM_SANDBOX_BYTES } from './limits.js';

export interface LambdaNode {
  readonly id: NodeId;
  readonly name: string;
  /** Running, and neither cordoned nor draining nor being left. */
  readonly unfit: string | undefined;
  readonly memoryBytes: number;
  /** By whatever is no sandbox. */
  readonly usedBytes: number;
  /** The limits of the invocations that run on it, together. */
  readonly reservedBytes: number;
  readonly running: number;
  /** Prewarmed sandboxes that wait on it. */
  readonly warm: number;
}

export type PlacementPlan =
  | { readonly kind: 'place'; readonly node: LambdaNode; readonly reason: string }
  /** What a node uses changes all the time, and room comes back when something ends. */
  | { readonly kind: 'wait'; readonly reasons: Readonly<Record<string, string>> }
  /** No node could ever take it as things are. */
  | { readonly kind: 'refuse'; readonly reasons: Readonly<Record<string, string>> };

const leastFor = (memoryBytes: number): number => Math.ceil(memoryBytes * LEAST_SHARE);

const freeOf = (node: LambdaNode): number =>
  node.memoryBytes - node.usedBytes - node.reservedBytes - node.warm * WARM_SANDBOX_BYTES;

/** `only`: the node that the caller names. */
export function planPlacement(nodes: readonly LambdaNode[], memoryBytes: number, only?: NodeId): PlacementPlan {
  const reasons: Record<string, string> = {};
  const fit: LambdaNode[] = [];
  let mayChange = false;
  for (const node of nodes) {
    if (only !== undefined && node.id !== only) continue;
    const why = whyNot(node, memoryBytes);
    if (why === undefined) {
      fit.push(node);
      continue;
    }
    reasons[node.name] = why;
    mayChange ||= node.unfit === undefined && node.memoryBytes >= memoryBytes;
  }
  const best = fit.reduce<LambdaNode | undefined>(
    (one, other) => (one === undefined || isBetter(other, one, memoryBytes) ? other : one),
    undefined,
  );
  if (best !== undefined) return { kind: 'place', node: best, reason: reasonFor(best) };
  return { kind: mayChange ? 'wait' : 'refuse', reasons };
}

function whyNot(node: LambdaNode, memoryBytes: number): string | undefined {
  if (node.unfit !== undefined) return node.unfit;
  if (node.memoryBytes < memoryBytes) return `has ${megabytes(node.memoryBytes)} in all`;
  const isAlone = node.running === 0;
  const need = isAlone ? leastFor(memoryBytes) : memoryBytes;
  if (freeOf(node) >= need) return undefined;
  const others = isAlone ? '' : ` beside the ${node.running} running`;
  return `has ${megabytes(Math.max(0, freeOf(node)))} free${others}, ${megabytes(need)} are needed`;
}

function isBetter(one: LambdaNode, other: LambdaNode, memoryBytes: number): boolean {
  const [isWhole, isOtherWhole] = [one, other].map((node) => freeOf(node) >= memoryBytes);
  if (isWhole !== isOtherWhole) return isWhole === true;
  if (one.warm > 0 !== other.warm > 0) return one.warm > 0;
  return freeOf(one) / (one.running + 1) > freeOf(other) / (other.running + 1);
}

const reasonFor = (node: LambdaNode): string =>
  `${node.warm > 0 ? 'a warm sandbox waits there' : 'the most free memory'}: ${megabytes(freeOf(node))} free, ${node.running} running`;

const megabytes = (bytes: number): string => `${Math.floor(bytes / 2 ** 20)} MB`;

/**
 * How the pool's sandboxes are spread: one after the other to the node with the fewest that could run one alone. What is
 * reserved does not count: those that wait there are for what comes after.
 */
export function planPool(
  nodes: readonly LambdaNode[],
  target: number,
  memoryBytes: number,
): ReadonlyMap<NodeId, number> {
  const wanted = new Map(nodes.map((node) => [node.id, 0]));
  const fit = nodes.filter(
    (node) => whyNot({ ...node, running: 0, reservedBytes: 0, warm: 0 }, memoryBytes) === undefined,
  );
  for (let count = 0; count < target && fit.length > 0; count += 1) {
    const least = fit.reduce((one, other) => ((wanted.get(other.id) ?? 0) < (wanted.get(one.id) ?? 0) ? other : one));
    wanted.set(least.id, (wanted.get(least.id) ?? 0) + 1);
  }
  return wanted;
}

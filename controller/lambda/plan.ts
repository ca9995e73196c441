/**
 * Places invocations on nodes: pure. Sandboxes that run beside each other have their whole limits reserved: together
 * they can't exhaust their node's memory, so that none can end another. A node that can't hold the whole limit takes an
 * invocation only if it is alone there; if memory runs out before the limit, nobody else's code suffers. Nodes are
 * scored in this order: the whole limit fits, a prewarmed sandbox waits, the most free memory per invocation.
 */
import type { NodeId } from '../../shared/ids.js';
import { LEAST_SHARE, WARM_SANDBOX_BYTES } from './limits.js';

export interface LambdaNode {
  readonly id: NodeId;
  readonly name: string;
  /** Why the node takes no invocations: it is not Running, or is cordoned or draining; undefined: it takes them. */
  readonly unfit: string | undefined;
  readonly memoryBytes: number;
  /** Memory used by everything except sandboxes; the agent's reported total where that is not measured. */
  readonly usedBytes: number;
  /** Sum of the limits of the invocations that run on it. */
  readonly reservedBytes: number;
  readonly running: number;
  /** Prewarmed sandboxes waiting on it. */
  readonly warm: number;
}

export type PlacementPlan =
  | { readonly kind: 'place'; readonly node: LambdaNode; readonly reason: string }
  /** No room now: the use of memory changes all the time, and room returns when an invocation ends. */
  | { readonly kind: 'wait'; readonly reasons: Readonly<Record<string, string>> }
  /** No node could take it in the present state of nodes. */
  | { readonly kind: 'refuse'; readonly reasons: Readonly<Record<string, string>> };

const leastFor = (memoryBytes: number): number => Math.ceil(memoryBytes * LEAST_SHARE);

const freeOf = (node: LambdaNode): number =>
  node.memoryBytes - node.usedBytes - node.reservedBytes - node.warm * WARM_SANDBOX_BYTES;

/** `only`: the node that the caller requested. */
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
 * Spreads the pool's sandboxes: each goes to the node with the fewest, among nodes that could run one alone. Reserved
 * memory does not count: waiting sandboxes are for later invocations.
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

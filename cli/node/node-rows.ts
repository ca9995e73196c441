/** All nodes with their latest figures, for `nexus top` and `nexus status`. */
import type { Controller } from '../connect/connection.js';
import type { TopRow } from './metrics-text.js';

export async function rowsOf(controller: Controller): Promise<TopRow[]> {
  const { node, metrics } = controller;
  const [{ nodes }, figures] = await Promise.all([
    controller.call(node, node.listNodes, {}),
    controller.call(metrics, metrics.listNodeMetrics, {}),
  ]);
  const byId = new Map(figures.metrics.map((one) => [one.nodeId, one]));
  return nodes.map((one) => ({ node: one, metrics: byId.get(one.id) }));
}

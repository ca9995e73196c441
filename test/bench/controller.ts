/** The cluster's controller over its socket, so that figures are not those of starting the CLI. */
import { openController, type Controller } from '../../cli/connect/connection.js';
import { loadSettings } from '../../shared/config/settings.js';
import type { TestCluster } from '../support/cluster.js';

export const connectTo = (cluster: TestCluster, asUser?: string): Promise<Controller> =>
  openController(loadSettings({ env: cluster.env }), new AbortController().signal, asUser);

export async function createNode(
  controller: Controller,
  name: string,
  memoryMb: number,
  storageBytes: number,
): Promise<number> {
  const request = {
    name,
    memoryMb,
    cpuShares: 0,
    storageSize: BigInt(storageBytes),
    image: '',
    labels: {},
    pidsLimit: 0,
  };
  const { node } = await controller.call(controller.node, controller.node.createNode, request, 120_000);
  return node?.pid ?? 0;
}

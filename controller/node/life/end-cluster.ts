/** Ends a cluster: every node stops or is removed, then the controller ends. */
import { toNexusError } from '../../../shared/errors.js';
import { removeTree } from '../../host/remove-tree.js';
import type { NodeService } from '../service.js';

type Tell = (progress: string) => Promise<void>;

/**
 * `nexus down`: stops the nodes, which start again with the next `up`; with purge everything that Nexus made is
 * removed. `stop` ends the controller and runs its argument as the last step.
 */
export async function endCluster(
  service: NodeService,
  purge: boolean,
  tell: Tell,
  stop: (last: () => Promise<void>) => Promise<void>,
): Promise<void> {
  const { registry, hostings, causes, settings } = service.context;
  await service.spares.close();
  const verb = purge ? 'removing' : 'stopping';
  await Promise.all(
    registry.list().map(async (node) => {
      await tell(`${verb} node ${node.name}`);
      await (purge ? service.purge(node.id) : service.suspend(node)).catch((error: unknown) => {
        // The node was removed, or its creation undone, while this call waited.
        if (toNexusError(error).code !== 'not_found') throw error;
      });
    }),
  );
  for (const { runtime } of hostings.all) await runtime.destroy();
  await causes.letNetworkGo();
  for (const { network } of hostings.all) await network.destroy();
  await tell('stopping the bus and the controller');
  // The answer must be sent before the socket closes, so the rest happens after this call.
  setImmediate(() => {
    void stop(async () => {
      if (!purge) return;
      // The command line, which has its answer already, checks what is left.
      for (const folder of [settings.stateDir, settings.runDir]) await removeTree(folder);
      for (const { images } of hostings.all) await images.sweep();
      for (const hosting of hostings.all) await hosting.sweep();
    });
  });
}

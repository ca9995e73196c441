/** The end of a cluster: every node stops or goes, then the controller itself. */
import { toNexusError } from '../../../shared/errors.js';
import { removeTree } from '../../host/remove-tree.js';
import type { NodeService } from '../service.js';

type Tell = (progress: string) => Promise<void>;

/**
 * `nexus down`: nodes stop and will start again with the next `up`; with purge all that Nexus made is removed.
 * `stop` ends the controller, with what it is given as its last step.
 */
export async function endCluster(
  service: NodeService,
  purge: boolean,
  tell: Tell,
  stop: (last: () => Promise<void>) => Promise<void>,
): Promise<void> {
  const { registry, hostings, causes, settings } = service.context;
  const verb = purge ? 'removing' : 'stopping';
  await Promise.all(
    registry.list().map(async (node) => {
      await tell(`${verb} node ${node.name}`);
      await (purge ? service.purge(node.id) : service.suspend(node)).catch((error: unknown) => {
        // It was being removed, or its creation undone, before our turn came.
        if (toNexusError(error).code !== 'not_found') throw error;
      });
    }),
  );
  for (const { runtime } of hostings.all) await runtime.dispose();
  await causes.letNetworkGo();
  for (const { network } of hostings.all) await network.dispose();
  await tell('stopping the bus and the controller');
  // The answer must be out before the socket goes: the rest happens once this call has ended.
  setImmediate(() => {
    void stop(async () => {
      if (!purge) return;
      // The command line, which has its answer already, looks at what is left.
      for (const folder of [settings.stateDir, settings.runDir]) await removeTree(folder);
    });
  });
}

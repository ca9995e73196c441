/** Nodes as plain agent processes, for hosts without root: a loopback address and a folder each, and no isolation. */
import { join } from 'node:path';
import { HOSTING } from '../../../shared/config/runtimes.js';
import { nodeConfigDir, nodeSocket } from '../../node/paths.js';
import { commonSpec, onThisHost } from '../on-host.js';
import type { Hosting, HostingProfile } from '../port.js';
import { parseSubnet } from '../subnet.js';
import { DirectoryVolumes } from './directory.js';
import { LoopbackNetwork } from './loopback.js';
import { ProcessRuntime } from './process-runtime.js';

/** The controller's own uid: without root, agents can't get another. */
const ownUid = (): number => process.getuid?.() ?? 0;

export const plainProcess: HostingProfile = {
  kind: 'process',
  can: HOSTING.process,
  check: () => Promise.resolve(),
  open: (deps): Promise<Hosting> => {
    const { settings, places } = deps;
    const subnet = parseSubnet(settings.subnet);
    const agentScript = join(places.dist, 'agent', 'agent.cjs');
    const runtime = new ProcessRuntime({ runDir: settings.runDir, agentScript });
    const network = new LoopbackNetwork(subnet);
    const volumes = new DirectoryVolumes(join(settings.stateDir, 'volumes'));
    return Promise.resolve({
      ...onThisHost(deps, subnet),
      kind: 'process',
      can: HOSTING.process,
      runtime,
      network,
      volumes,
      prepare: () => runtime.prepare(),
      placeIn: (slot, volumeUuid) => ({
        ip: subnet.addressOf(slot),
        hosting: { kind: 'process', slot, volumeUuid, bootId: '' },
      }),
      rootfsOf: () => Promise.resolve(''),
      agentUid: ownUid,
      agentPlaces: (node) => ({
        credsFile: join(nodeConfigDir(settings, node.id), 'agent.creds'),
        dataDir: volumes.pathOf(node.id),
        volume: { kind: 'directory', sizeBytes: node.storageBytes },
        statusSocket: { path: nodeSocket(settings, node.id) },
        cgroup: 'none',
        networkInterface: network.nodeInterface,
      }),
      containerSpec: (node) =>
        Promise.resolve({
          ...commonSpec(deps, node),
          agentUid: ownUid(),
          rootfs: '',
          volumePath: volumes.pathOf(node.id),
        }),
      listenForAgent: () => Promise.resolve(undefined),
    });
  },
};

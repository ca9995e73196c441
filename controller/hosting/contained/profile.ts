/** Nodes as OCI containers: own namespaces and cgroups, a link to a bridge, an ext4 volume on a loop device. */
import { join } from 'node:path';
import { HOSTING } from '../../../shared/config/runtimes.js';
import { listenForAnother } from '../../host/listening.js';
import { nodeSocket } from '../../node/paths.js';
import { commonSpec, onThisHost } from '../on-host.js';
import type { Hosting, HostingProfile } from '../port.js';
import { volumePlaceOf } from '../record.js';
import { STATUS_SOCKET_FD } from '../runtime.js';
import { parseSubnet } from '../subnet.js';
import { BridgeNetwork } from './bridge.js';
import { IN_NODE } from './bundle.js';
import { ImageFileVolumes } from './image-file.js';
import { layoutFor, ociProgramOf } from './programs.js';
import { OciRuntime } from './oci-runtime.js';

export const contained: HostingProfile = {
  kind: 'contained',
  can: HOSTING.contained,
  check: async ({ runtime }) => {
    await layoutFor(ociProgramOf(runtime));
  },
  open: async (deps): Promise<Hosting> => {
    const { settings, places, images } = deps;
    const { runDir, cgroupParent } = settings;
    const subnet = parseSubnet(settings.subnet);
    const runtimeDir = join(places.dist, 'runtime');
    const runtime = await OciRuntime.open({
      program: ociProgramOf(settings.runtime),
      runDir,
      cgroupParent,
      runtimeDir,
    });
    const network = new BridgeNetwork({
      instance: settings.instance,
      bridge: settings.bridge,
      subnet,
      busPort: settings.natsUrl === undefined ? settings.natsPort : undefined,
    });
    const volumes = new ImageFileVolumes(join(settings.stateDir, 'volumes'));
    const agentUid: Hosting['agentUid'] = ({ hosting }) => settings.nodeUidBase + hosting.slot;
    return {
      ...onThisHost(deps, subnet),
      kind: 'contained',
      can: HOSTING.contained,
      runtime,
      network,
      volumes,
      prepare: async (undo) => {
        await runtime.prepare();
        undo('remove the network', () => network.destroy());
        await network.prepare();
        await images.ensureBase();
      },
      placeIn: (slot, volumeUuid) => ({
        ip: subnet.addressOf(slot),
        hosting: { kind: 'contained', slot, volumeUuid, bootId: '', loopDevice: settings.loopBase + slot },
      }),
      rootfsOf: (image) => images.rootfsOf(image),
      agentUid,
      agentPlaces: () => ({
        credsFile: join(IN_NODE.config, 'agent.creds'),
        dataDir: IN_NODE.data,
        volume: { kind: 'mounted' },
        statusSocket: { fd: STATUS_SOCKET_FD },
        cgroup: runtime.layout,
        networkInterface: network.nodeInterface,
      }),
      containerSpec: async (node) => ({
        ...commonSpec(deps, node),
        agentUid: agentUid(node),
        rootfs: await images.rootfsOf(node.image),
        volumePath: volumes.pathOf(node.id),
        loopDevice: volumePlaceOf(node).loopDevice,
      }),
      // With a socket in its own root, a node could redirect whoever inspects it to any other socket of the host.
      listenForAgent: ({ id }) => listenForAnother(nodeSocket(settings, id)),
    };
  },
};

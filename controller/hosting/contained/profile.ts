/** Nodes as OCI containers: own namespaces and cgroups, a link to a bridge, an ext4 volume on a loop device. */
import { join } from 'node:path';
import { HOSTING } from '../../../shared/config/runtimes.js';
import type { Settings } from '../../../shared/config/settings.js';
import { listenForAnother } from '../../host/listening.js';
import { nodeSocket } from '../../node/paths.js';
import { commonSpec, onThisHost } from '../on-host.js';
import type { Hosting, HostingProfile } from '../port.js';
import { containedRecord, volumePlaceOf } from '../record.js';
import type { NodeRecord } from '../../store/port/store.js';
import { STATUS_SOCKET_FD, type ContainerSpec } from '../runtime.js';
import { parseSubnet } from '../subnet.js';
import { BridgeNetwork } from './bridge.js';
import { hostUidOfAgent, IN_NODE } from './bundle.js';
import { IdRanges } from './id-ranges.js';
import { ImageFileVolumes } from './image-file.js';
import { layoutFor, ociProgramOf } from './programs.js';
import { OciRuntime } from './oci-runtime.js';

/** Claims of all instances. No instance's name has a dot. */
const ID_RANGES = '/run/nexus.ids';

const DEFAULT_NATS_PORT = 4222;

function busOf({ natsUrl, natsPort }: Settings): { readonly port: number; readonly isHere: boolean } {
  if (natsUrl === undefined) return { port: natsPort, isHere: true };
  const { port } = new URL(natsUrl);
  return { port: port === '' ? DEFAULT_NATS_PORT : Number(port), isHere: false };
}

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
      stageProgram: join(places.dist, 'node-stage'),
    });
    const ranges = new IdRanges(ID_RANGES, runDir);
    const idsOf = ({ hosting }: NodeRecord): Pick<ContainerSpec, 'agentUid' | 'firstId'> => ({
      agentUid: settings.nodeUidBase + containedRecord(hosting).slot,
      firstId: containedRecord(hosting).firstId,
    });
    const network = new BridgeNetwork({
      instance: settings.instance,
      bridge: settings.bridge,
      subnet,
      bus: busOf(settings),
      onlyPort: settings.isolateNodes === 'on' ? settings.dataPort : undefined,
    });
    const volumes = new ImageFileVolumes(join(settings.stateDir, 'volumes'));
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
        await ranges.sweep();
        await images.ensureBase();
      },
      placeIn: (slot, volumeUuid) => ({
        ip: subnet.addressOf(slot),
        hosting: { kind: 'contained', slot, volumeUuid, bootId: '', loopDevice: settings.loopBase + slot },
      }),
      rootfsOf: (image) => images.rootfsOf(image),
      claim: async ({ id, hosting }) => ({
        ...containedRecord(hosting),
        firstId: await ranges.claim(id, containedRecord(hosting).firstId),
      }),
      release: ({ id }) => ranges.release(id),
      sweep: () => ranges.sweep(),
      agentUid: (node) => hostUidOfAgent(idsOf(node)),
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
        ...idsOf(node),
        rootfs: await images.rootfsOf(node.image),
        volumePath: volumes.pathOf(node.id),
        loopDevice: volumePlaceOf(node).loopDevice,
      }),
      // With a socket in its own root, a node could redirect whoever inspects it to any other socket of the host.
      listenForAgent: ({ id }) => listenForAnother(nodeSocket(settings, id)),
    };
  },
};

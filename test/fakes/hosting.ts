/** A kind of hosting made of fakes. Its nodes have loop devices and images, and agents of this process's own user. */
import { HOSTING, type HostingKind } from '../../shared/config/runtimes.js';
import type { Settings } from '../../shared/config/settings.js';
import { commonSpec, onThisHost } from '../../controller/hosting/on-host.js';
import type { Hosting } from '../../controller/hosting/port.js';
import { volumePlaceOf } from '../../controller/hosting/record.js';
import { parseSubnet } from '../../controller/hosting/subnet.js';
import type { LogWriters } from '../../controller/log/port.js';

export interface FakeHostingParts extends Pick<Hosting, 'runtime' | 'network' | 'volumes' | 'images'> {
  readonly settings: Settings;
  readonly logs: LogWriters;
}

export function fakeHosting(parts: FakeHostingParts, kind: HostingKind = 'contained'): Hosting {
  const { settings, runtime, network, volumes, images } = parts;
  const subnet = parseSubnet(settings.subnet);
  const agentUid = (): number => process.getuid?.() ?? 0;
  return {
    ...onThisHost(parts, subnet),
    kind,
    can: HOSTING[kind],
    runtime,
    network,
    volumes,
    images,
    prepare: async () => {
      await runtime.prepare();
      await network.prepare();
    },
    placeIn: (slot, volumeUuid) => ({
      ip: subnet.addressOf(slot),
      hosting: { kind: 'contained', slot, volumeUuid, bootId: '', loopDevice: settings.loopBase + slot },
    }),
    rootfsOf: (image) => images.rootfsOf(image),
    agentUid,
    agentPlaces: () => ({
      credsFile: '',
      dataDir: '',
      volume: { kind: 'mounted' },
      statusSocket: { fd: 3 },
      cgroup: 'v2',
      networkInterface: '',
    }),
    containerSpec: async (node) => ({
      ...commonSpec(parts, node),
      agentUid: agentUid(),
      rootfs: await images.rootfsOf(node.image),
      volumePath: volumes.pathOf(node.id),
      loopDevice: volumePlaceOf(node).loopDevice,
    }),
    listenForAgent: () => Promise.resolve(undefined),
  };
}

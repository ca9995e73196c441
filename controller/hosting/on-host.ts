/** Shared by all kinds of nodes that live on this host: subnet, logs, folders and the bounds of silence. */
import { MIB } from '../../shared/limits.js';
import type { NodeRecord } from '../store/port/store.js';
import { nodeConfigDir, nodeLogPlace } from '../node/paths.js';
import type { Hosting, HostingDeps } from './port.js';
import type { ContainerSpec } from './runtime.js';
import type { Subnet } from './subnet.js';

type Common = Pick<
  Hosting,
  'images' | 'logs' | 'liveness' | 'slots' | 'addressOf' | 'logOf' | 'claim' | 'release' | 'sweep'
>;

export const onThisHost = (
  { settings, images, logs }: Pick<HostingDeps, 'settings' | 'images' | 'logs'>,
  subnet: Subnet,
): Common => ({
  images,
  logs,
  liveness: settings,
  slots: subnet.slots,
  addressOf: ({ ip }) => `${ip}:${settings.dataPort}`,
  logOf: ({ id }) => nodeLogPlace(settings, id),
  claim: ({ hosting }) => Promise.resolve(hosting),
  release: () => Promise.resolve(),
  sweep: () => Promise.resolve(),
});

/** The part of a container's specification that every runtime gets. */
export const commonSpec = (
  { settings }: Pick<HostingDeps, 'settings'>,
  node: NodeRecord,
): Pick<ContainerSpec, 'nodeId' | 'hostname' | 'limits' | 'volumeUuid' | 'configDir'> => ({
  nodeId: node.id,
  hostname: node.name,
  limits: { memoryBytes: node.memoryMb * MIB, cpuWeight: node.cpuWeight, pids: node.pidsLimit },
  volumeUuid: node.hosting.volumeUuid,
  configDir: nodeConfigDir(settings, node.id),
});

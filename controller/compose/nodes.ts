/** Composes the nodes: their hosting, the bus, the sandboxes on them, and the loops that watch and repair them. */
import { totalmem } from 'node:os';
import { join } from 'node:path';
import { systemClock } from '../../shared/async/clock.js';
import type { NodeId } from '../../shared/ids.js';
import { NETWORK_PERIOD_MS, PULSE_PERIOD_MS, SharedCauses } from '../cause/shared-causes.js';
import { HostRoom } from '../host/room.js';
import { openHostings } from '../hosting/profiles.js';
import { Lambda } from '../lambda/use-cases.js';
import { MetricsHistory } from '../metrics/history.js';
import type { NodeContext } from '../node/context.js';
import { NodeService } from '../node/service.js';
import { boundLogs, LOG_BOUNDS_PERIOD_MS } from '../node/watch/log-bounds.js';
import { NodeMender } from '../node/watch/mend.js';
import { VolumeWatch } from '../node/watch/volume-watch.js';
import { NodeWatch, WATCH_PERIOD_MS } from '../node/watch/watch.js';
import { makeBus, makeImages, makeLogs, makeSandboxes } from './adapters.js';
import type { Instance } from './instance.js';
import type { LoopRow } from './loops.js';
import type { Starting } from './starting.js';

const HOST_ROOM_PERIOD_MS = 2000;
const CUT_OFF_PERIOD_MS = 1000;
const SPARES_PERIOD_MS = 2000;
const SHORT_OF_SPARES_PERIOD_MS = 250;

export interface Nodes {
  readonly context: NodeContext;
  readonly service: NodeService;
  readonly lambda: Lambda;
  /** Rows for the table of loops; work that they began is awaited at the end. */
  loops(): readonly LoopRow[];
}

export async function composeNodes(starting: Starting, instance: Instance): Promise<Nodes> {
  const { settings, log, places } = starting;
  const { store, events, registry, tokenKey } = instance;
  const images = makeImages(settings, places);
  const logs = await makeLogs(settings, places);
  const hostings = await openHostings({ settings, places, log, logs, images });
  const { network } = hostings.own;
  await hostings.own.prepare((name, run) => {
    starting.deferUnlessUp(name, async () => {
      if (registry.list().length === 0) await run();
    });
  });
  starting.throwIfAsked();
  const sandboxes = await makeSandboxes(settings, places, images, log);
  const lambda = new Lambda({ runtime: sandboxes, registry, settings, clock: systemClock, log });
  starting.defer('end the sandboxes', () => lambda.close());
  const bus = await makeBus(settings, network.hostAddress, log, logs);
  starting.defer('stop the bus', () => bus.close());
  const forgive = (settleMs: number): void => {
    registry.forgiveSilence(settleMs);
  };
  const causes = new SharedCauses({ bus, network, events, clock: systemClock, log, forgive });
  const hostRoom = new HostRoom({
    places: { state: settings.stateDir, volumes: join(settings.stateDir, 'volumes'), runtime: settings.runDir },
    volumes: () =>
      [...registry.list(), ...service.spares.nodes].map((node) => ({
        nodeId: node.id,
        path: hostings.of(node).volumes.pathOf(node.id),
      })),
    fullPercent: settings.hostDiskFullPercent,
  });
  const context: NodeContext = {
    registry,
    causes,
    metrics: new MetricsHistory(),
    files: store.files,
    replicas: store.replicas,
    hostings,
    bus,
    events,
    clock: systemClock,
    log,
    guests: lambda,
    settings,
    tokenPublicKey: tokenKey.publicKey,
    hostMemoryBytes: totalmem(),
    hostRoom,
  };
  const service = new NodeService(context);
  starting.defer('let volumes go', async () => {
    await Promise.all(context.hostings.all.map(({ volumes }) => volumes.settled()));
  });
  starting.defer('remove the spares', () => service.spares.close());
  const watch = new NodeWatch(service);
  await starting.unlessAsked(bus.start(watch));
  return { context, service, lambda, loops: () => loopsOf(starting, service, watch) };
}

function loopsOf(starting: Starting, service: NodeService, watch: NodeWatch): readonly LoopRow[] {
  const { registry, causes, hostRoom, settings } = service.context;
  const mender = new NodeMender(service);
  const volumes = new VolumeWatch(service);
  starting.defer('let mending end', () => volumes.settled());
  const written = new Set<NodeId>();
  const ids = (): NodeId[] => registry.list().map(({ id }) => id);
  return [
    { name: 'bus', periodMs: PULSE_PERIOD_MS, tick: () => causes.lookAtBus() },
    { name: 'node mending', periodMs: NETWORK_PERIOD_MS, tick: (signal) => mender.tick(signal) },
    { name: 'watch', periodMs: WATCH_PERIOD_MS, tick: () => watch.tick() },
    { name: 'log bounds', periodMs: LOG_BOUNDS_PERIOD_MS, tick: () => boundLogs(settings, ids(), written) },
    { name: 'volumes', periodMs: WATCH_PERIOD_MS, tick: () => volumes.tick() },
    { name: 'host room', periodMs: HOST_ROOM_PERIOD_MS, tick: () => hostRoom.tick() },
    {
      name: 'spares',
      periodMs: () => (service.spares.isShort ? SHORT_OF_SPARES_PERIOD_MS : SPARES_PERIOD_MS),
      tick: (signal) => service.spares.tick(signal),
    },
    { name: 'cut-off verbs', periodMs: CUT_OFF_PERIOD_MS, tick: () => service.finishCutOff() },
  ];
}

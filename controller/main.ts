/**
 * The controller's composition: names the concrete adapters, starts them in order and ends them in reverse.
 * Start: lock, store, images, network, bus, reconcile, loops; the sockets listen when everything behind them is wired.
 * SIGTERM and SIGINT end it and leave the nodes
 * running; the Shutdown call stops or purges them first.
 */
import '../shared/debugger-signal.js';
import { setMaxListeners } from 'node:events';
import { totalmem } from 'node:os';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { systemClock } from '../shared/clock.js';
import { CONTROLLER_LOG } from '../shared/config/instance.js';
import { gatewaySocket, keyName, loadSettings, SETTING_NAMES, type Settings } from '../shared/config/settings.js';
import { NexusError, toNexusError } from '../shared/errors.js';
import { createProcessLog, type ProcessLog } from '../shared/log.js';
import { VERSION } from '../shared/version.js';
import { makeBus, makeImages, makeLogs, makeSandboxes, makeStore, openIdentity, type EndDatabase } from './adapters.js';
import { NETWORK_PERIOD_MS, PULSE_PERIOD_MS, SharedCauses } from './cause/shared-causes.js';
import { EventLog } from './events/log.js';
import { FileMaintenance } from './file/maintenance.js';
import { Room } from './file/room.js';
import { FileUseCases } from './file/use-cases.js';
import { Upkeep } from './repair/upkeep.js';
import { GatewayProcess } from './gateway/process.js';
import { CallerFiles } from './lambda/caller-files.js';
import { Functions } from './lambda/functions.js';
import { Invocations } from './lambda/invocations.js';
import { Lambda } from './lambda/use-cases.js';
import { HostRoom } from './host/room.js';
import { assertSameDatabase, rememberChoices } from './host/choices.js';
import { isAlive } from './host/process-identity.js';
import { claimForStart } from './host/first-start.js';
import { identityOf } from './hosting/record.js';
import { leaveInheritance } from './host/inherited.js';
import { awaitInstance } from './host/instance-lock.js';
import { createLoop, type Loop } from './host/loop.js';
import type { NodeId } from '../shared/ids.js';
import { MIB } from '../shared/limits.js';
import { serviceUserIds } from '../shared/host/service-user.js';
import { loadTokenKey } from './host/signing-key.js';
import { MetricsHistory } from './metrics/history.js';
import { openHostings } from './hosting/profiles.js';
import type { NodeContext } from './node/context.js';
import { boundLogs, LOG_BOUNDS_PERIOD_MS } from './node/watch/log-bounds.js';
import { endCluster } from './node/life/end-cluster.js';
import { reconcileAtBoot } from './node/watch/reconcile.js';
import { NodeMender } from './node/watch/mend.js';
import { NodeRegistry } from './node/registry.js';
import { NodeService } from './node/service.js';
import { ClusterStorageNodes } from './node/storage-nodes.js';
import { VolumeWatch } from './node/watch/volume-watch.js';
import { NodeWatch, WATCH_PERIOD_MS } from './node/watch/watch.js';
import { CallStatistics } from './rpc/call-statistics.js';
import { GatewayEdge, LocalEdge } from './rpc/edge.js';
import { limitsCheck } from './rpc/lambda-schemas.js';
import { SocketServer, somebodyListens } from './rpc/server.js';
import { exchangeOver } from './rpc/exchange.js';
import { servicesFor, type UseCases } from './rpc/services.js';
import type { DocumentSource } from './state/document.js';
import { Snapshot, snapshotPath } from './state/snapshot.js';
import { Pins } from './vfs/pins.js';
import { FsUpkeep } from './vfs/upkeep.js';
import { FsUseCases } from './vfs/use-cases.js';
import { UndoStack } from '../shared/undo.js';

/** The bundle lies in <project>/dist/controller/. */
const DIST = join(dirname(fileURLToPath(import.meta.url)), '..');
const PLACES = { dist: DIST, project: join(DIST, '..') };
const MAINTENANCE_PERIOD_MS = 1000;
const HOST_ROOM_PERIOD_MS = 2000;
const CUT_OFF_PERIOD_MS = 1000;
const UPKEEP_PERIOD_MS = 500;
const LAMBDA_PERIOD_MS = 500;
const SCRUB_PERIOD_MS = 60_000;
const IDENTITY_UPKEEP_PERIOD_MS = 60_000;
const GATEWAY_PERIOD_MS = 200;

async function main(): Promise<void> {
  const settings = loadSettings({ flags: flags(), file: undefined });
  const processLog = openLog(settings);
  const { log } = processLog;
  const asked = new AbortController();
  // Every node that a start brings back listens.
  setMaxListeners(0, asked.signal);
  try {
    await leaveInheritance();
    const starting = start(settings, processLog, asked.signal);
    // Again and again: a second one must not end it in the middle of its end.
    for (const name of ['SIGTERM', 'SIGINT', 'SIGHUP'] as const) {
      process.on(name, () => {
        log.info({ signal: name }, 'stopping; nodes run on');
        asked.abort(new NexusError('cancelled', 'the controller was asked to end while it started'));
        void starting.then(
          (controller) => controller.stop(),
          () => undefined,
        );
      });
    }
    await (
      await starting
    ).ended;
  } catch (error) {
    const failure = toNexusError(error);
    log.fatal(
      { code: failure.code, details: failure.details, err: failure.code === 'internal' ? error : undefined },
      failure.message,
    );
    process.exitCode = asked.signal.aborted && failure.code === 'cancelled' ? 0 : 1;
  }
  await processLog.sink.settled();
  // Not left to an empty event loop: a line that waits for a reader who does not read would keep it from ending.
  process.exit();
}

function openLog({ logLevel, logMaxMb, logFiles, stateDir }: Settings): ProcessLog {
  const file = { path: join(stateDir, CONTROLLER_LOG), maxBytes: logMaxMb * MIB, files: logFiles };
  return createProcessLog('controller', logLevel, file);
}

function flags(): Record<string, string | undefined> {
  const options = Object.fromEntries(SETTING_NAMES.map((name) => [keyName(name), { type: 'string' as const }]));
  const { values } = parseArgs({ options, strict: true });
  return Object.fromEntries(SETTING_NAMES.map((name) => [name, values[keyName(name)]]));
}

interface Controller {
  stop(): Promise<void>;
  readonly ended: Promise<void>;
}

/**
 * Everything that was started goes on one stack; a failed start and an orderly end both unwind it. Network and folders
 * are taken back by a failed start only: an orderly end leaves them to the nodes that run on. A start that is `asked` to
 * end fails: between two steps, and where it only waits at once.
 */
async function start(settings: Settings, { log, sink }: ProcessLog, asked: AbortSignal): Promise<Controller> {
  await using starting = new UndoStack(log);
  const running = new UndoStack(log);
  starting.defer('unwind', () => running[Symbol.asyncDispose]());
  const startedAt = systemClock.now();

  const { stateDir, instance, socket } = settings;
  const isServing = (): Promise<boolean> => somebodyListens(socket);
  const lock = await unlessAsked(awaitInstance({ stateDir, instance, isServing, clock: systemClock, log }), asked);
  running.defer('release the instance', async () => {
    lock.release();
  });
  let isUp = false;
  const deferUnlessUp = (name: string, run: () => Promise<void>): void => {
    running.defer(name, async () => {
      if (!isUp) await run();
    });
  };
  deferUnlessUp('take the state folder back', await claimForStart(settings.stateDir, 0o700));
  deferUnlessUp('take the runtime folder back', await claimForStart(settings.runDir, 0o711));
  assertSameDatabase(settings);
  const store = await makeStore(settings, log);
  let isPurged = false;
  const end: EndDatabase = (database) => (isPurged ? database.erase() : database.close());
  running.defer('close the store', () => end(store));
  const events = new EventLog(store.events, systemClock, log);
  const registry = new NodeRegistry(store.nodes, events, systemClock);
  await registry.load();
  const living = registry.list().filter((node) => isAlive(identityOf(node)));
  await rememberChoices(settings, { all: registry.list().length, running: living.length }, log);

  const identity = await openIdentity(settings, log, running, end, events);
  const tokenKey = await loadTokenKey(settings.stateDir);
  const images = makeImages(settings, PLACES);
  const logs = await makeLogs(settings, PLACES);
  const hostings = await openHostings({ settings, places: PLACES, log, logs, images });
  const { network } = hostings.own;
  await hostings.own.prepare((name, run) => {
    deferUnlessUp(name, async () => {
      if (registry.list().length === 0) await run();
    });
  });
  asked.throwIfAborted();
  const sandboxes = await makeSandboxes(settings, PLACES, images, log);
  const lambda = new Lambda({ runtime: sandboxes, registry, settings, clock: systemClock, log });
  running.defer('end the sandboxes', () => lambda.close());
  const bus = await makeBus(settings, network.hostAddress, log, logs);
  running.defer('stop the bus', () => bus.stop());
  const causes = new SharedCauses({
    bus,
    network,
    events,
    clock: systemClock,
    log,
    forgive: (settleMs) => {
      registry.forgiveSilence(settleMs);
    },
  });
  const hostRoom = new HostRoom({
    places: { state: settings.stateDir, volumes: join(settings.stateDir, 'volumes'), runtime: settings.runDir },
    volumes: () =>
      registry.list().map((node) => ({ nodeId: node.id, path: hostings.of(node).volumes.pathOf(node.id) })),
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
  const nodes = new NodeService(context);
  const watch = new NodeWatch(nodes);
  const mender = new NodeMender(nodes);
  await unlessAsked(bus.start(watch), asked);

  const deps = {
    store: store.files,
    fs: store.fs,
    pins: new Pins(systemClock),
    replicas: store.replicas,
    marks: store.marks,
    nodes: new ClusterStorageNodes(context),
    room: new Room(),
    signer: tokenKey,
    clock: systemClock,
    log,
    settings,
    events,
  };
  const maintenance = new FileMaintenance(deps);
  const kickDeletion = (): void => {
    maintenanceLoop.kick();
  };
  const upkeep = new Upkeep(deps, {
    repair: () => {
      repairLoop.kick();
    },
    deletion: kickDeletion,
  });
  const files = new FileUseCases(deps, kickDeletion);
  await files.uploads.renewAll();
  const fs = new FsUseCases(deps, files.uploads, kickDeletion);
  const callerFiles = new CallerFiles(fs, files);
  const functions = new Functions(fs, callerFiles, systemClock, limitsCheck(settings));
  const invocations = new Invocations(lambda.invoker, functions, callerFiles, systemClock);
  const fsUpkeep = new FsUpkeep(deps, kickDeletion);
  const document: DocumentSource = {
    archive: store.archive,
    nodes: () => registry.list(),
    head: { instance: settings.instance, nexus_version: VERSION },
  };
  const snapshot = new Snapshot({
    source: document,
    volumes: hostings.own.volumes,
    path: snapshotPath(settings.stateDir),
    clock: systemClock,
    log,
  });

  let endNow = (): void => undefined;
  const ended = new Promise<void>((resolve) => {
    endNow = resolve;
  });
  let stopping: Promise<void> | undefined;
  const stop = (last: () => Promise<void> = () => Promise.resolve()): Promise<void> =>
    (stopping ??= running[Symbol.asyncDispose]().then(last).finally(endNow));
  const gateway = new GatewayProcess(
    { program: join(DIST, 'gateway', 'main.js'), settings, clock: systemClock, log },
    () => {
      gatewayLoop.kick();
    },
  );
  const shutdown: UseCases['cluster']['shutdown'] = async (purge, tell) => {
    await tell('stopping the gateway');
    await gateway.stop();
    await endCluster(nodes, purge, tell, (last) => {
      isPurged = purge;
      return stop(last);
    });
  };

  const cluster = { startedAt, ownLog: sink, shutdown, snapshot, gateway: () => gateway.status };
  const useCases: UseCases = {
    store,
    nodes,
    files,
    fs,
    upkeep,
    lambda: { lambda, invocations },
    identity,
    document,
    cluster,
  };
  const protoDir = join(DIST, 'proto');
  const gatewayPlace = { path: gatewaySocket(settings), group: (await serviceUserIds(settings.serviceUser))?.gid };
  const calls = new CallStatistics();
  // Files that came back with a state may be of users whose accounts did not: they can still be reached.
  const isKnownUser = async (user: string): Promise<boolean> =>
    (await identity.administration.exists(user)) || (await store.fs.account(user)) !== undefined;
  const forGateway = servicesFor(useCases, new GatewayEdge(log, identity.sessions, calls));
  const servers = [
    new SocketServer(
      { path: settings.socket },
      servicesFor(useCases, new LocalEdge(log, isKnownUser, calls)),
      protoDir,
    ),
    new SocketServer(gatewayPlace, [...forGateway, exchangeOver(forGateway)], protoDir),
  ];
  const loops: Loop[] = [];
  const loop = (name: string, periodMs: number, work: (signal: AbortSignal) => Promise<void>): Loop => {
    const made = createLoop(name, periodMs, work, { clock: systemClock, log });
    running.defer(`stop the loop: ${name}`, () => made.stop());
    loops.push(made);
    return made;
  };
  // What asks agents for something would only note their silence against them.
  const unlessCut = (work: (signal: AbortSignal) => Promise<void>) => async (signal: AbortSignal) => {
    if (causes.silenceCounts) await work(signal);
  };
  for (const server of servers) running.defer('stop a socket', () => server.stop());
  loop('bus', PULSE_PERIOD_MS, () => causes.lookAtBus());
  loop('node mending', NETWORK_PERIOD_MS, (signal) => mender.tick(signal));
  loop('watch', WATCH_PERIOD_MS, () => watch.tick());
  const idsOfNodes = (): NodeId[] => registry.list().map(({ id }) => id);
  loop('log bounds', LOG_BOUNDS_PERIOD_MS, () => boundLogs(settings, idsOfNodes()));
  const volumeWatch = new VolumeWatch(nodes);
  running.defer('let mending end', () => volumeWatch.settled());
  loop('volumes', WATCH_PERIOD_MS, () => volumeWatch.tick());
  loop('host room', HOST_ROOM_PERIOD_MS, () => hostRoom.tick());
  loop('cut-off verbs', CUT_OFF_PERIOD_MS, () => nodes.finishCutOff());
  const maintenanceLoop = loop('file maintenance', MAINTENANCE_PERIOD_MS, (signal) => maintenance.tick(signal));
  loop('file system upkeep', MAINTENANCE_PERIOD_MS, () => fsUpkeep.tick());
  loop('state snapshot', MAINTENANCE_PERIOD_MS, () => snapshot.tick());
  const repairLoop = loop(
    'repair',
    UPKEEP_PERIOD_MS,
    unlessCut((signal) => upkeep.repair.tick(signal)),
  );
  loop(
    'inventory',
    UPKEEP_PERIOD_MS,
    unlessCut((signal) => upkeep.inventory.tick(signal)),
  );
  loop(
    'scrub',
    SCRUB_PERIOD_MS,
    unlessCut((signal) => upkeep.scrub.tick(signal)),
  );
  const lambdaLoop = loop('lambda', LAMBDA_PERIOD_MS, (signal) => lambda.tick(signal));
  lambda.onRefill(() => {
    lambdaLoop.kick();
  });
  loop('identity upkeep', IDENTITY_UPKEEP_PERIOD_MS, () => identity.upkeep());
  events.listen(({ type, subject }) => {
    if (type.startsWith('node.') || type === 'file.under_replicated') upkeep.nodeChanged(type, subject);
  });
  // Stops before the rest: what it has begun needs all of it.
  running.defer('stop the gateway', () => gateway.stop());
  const gatewayLoop = loop('gateway', GATEWAY_PERIOD_MS, () => gateway.tick());
  // First of all: whoever comes now must not be served by what is ending.
  running.defer('take no more calls of people', () => {
    void servers[0]?.stop();
    return Promise.resolve();
  });
  for (const server of servers) await server.listen();
  asked.throwIfAborted();
  await lambda.prepare();
  asked.throwIfAborted();
  await reconcileAtBoot(nodes, asked);
  asked.throwIfAborted();
  for (const { start: run } of loops) run();
  for (const server of servers) server.setServing(true);
  log.info(
    { version: VERSION, instance: settings.instance, runtime: settings.runtime, socket: settings.socket },
    'the controller is up',
  );
  isUp = true;
  starting.commit();
  return { stop, ended };
}

/** For what only waits and makes nothing on the host: the end of the process ends it, too. */
function unlessAsked<T>(waiting: Promise<T>, asked: AbortSignal): Promise<T> {
  return new Promise((resolve, reject) => {
    const onAsked = (): void => {
      reject(toNexusError(asked.reason));
    };
    if (asked.aborted) onAsked();
    asked.addEventListener('abort', onAsked, { once: true });
    void waiting.then(resolve, reject).finally(() => {
      asked.removeEventListener('abort', onAsked);
    });
  });
}

await main();

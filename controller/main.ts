/**
 * The controller's composition: names the concrete adapters, starts them in order and ends them in reverse.
 * Start: lock, store, images, network, bus, socket, reconcile, loops. SIGTERM and SIGINT end it and leave the nodes
 * running; the Shutdown call stops or purges them first.
 */
import { rm } from 'node:fs/promises';
import { totalmem } from 'node:os';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { systemClock } from '../shared/clock.js';
import { gatewaySocket, keyName, loadSettings, SETTING_NAMES, type Settings } from '../shared/config/settings.js';
import { toNexusError } from '../shared/errors.js';
import { ClusterServiceService } from '../shared/gen/nexus/v1/cluster.js';
import { FileServiceService } from '../shared/gen/nexus/v1/file.js';
import { FsServiceService } from '../shared/gen/nexus/v1/fs.js';
import { IdentityServiceService } from '../shared/gen/nexus/v1/identity.js';
import { ImageServiceService } from '../shared/gen/nexus/v1/image.js';
import { MetricsServiceService } from '../shared/gen/nexus/v1/metrics.js';
import { NodeServiceService } from '../shared/gen/nexus/v1/node.js';
import { createLogger, type Logger } from '../shared/log.js';
import { VERSION } from '../shared/version.js';
import { loadAccounts } from './bus/credentials.js';
import { externalAccess, NatsBus, ownServerAccess } from './bus/nats.js';
import { NatsServer } from './bus/nats-server.js';
import { EventLog } from './events/log.js';
import { FileMaintenance } from './file/maintenance.js';
import { Room } from './file/room.js';
import { FileUseCases } from './file/use-cases.js';
import { Upkeep } from './repair/upkeep.js';
import { claimForStart } from './host/first-start.js';
import { lockInstance } from './host/instance-lock.js';
import { startLoop } from './host/loop.js';
import { serviceUserIds } from './host/service-user.js';
import { loadTokenKey } from './host/signing-key.js';
import { IdentityKeys } from './identity/keys.js';
import { OutboxMailer } from './identity/outbox.js';
import { ScryptHasher } from './identity/passwords.js';
import type { IdentityStore, Mailer } from './identity/port.js';
import { SmtpMailer } from './identity/smtp.js';
import { openIdentityStore } from './identity/typeorm.js';
import { IdentityUseCases } from './identity/use-cases.js';
import { FolderImages } from './image/folder-images.js';
import { MetricsHistory } from './metrics/history.js';
import { BridgeNetwork } from './network/bridge.js';
import { parseSubnet } from './network/ipam.js';
import { LoopbackNetwork } from './network/loopback.js';
import type { NodeContext } from './node/context.js';
import { reconcileAtBoot } from './node/reconcile.js';
import { NodeRegistry } from './node/registry.js';
import { NodeService } from './node/service.js';
import { ClusterStorageNodes } from './node/storage-nodes.js';
import { NodeWatch, WATCH_PERIOD_MS } from './node/watch.js';
import { clusterServiceHandlers } from './rpc/cluster.js';
import { GatewayEdge, LocalEdge, type Edge } from './rpc/edge.js';
import { fileServiceHandlers } from './rpc/file.js';
import { fsServiceHandlers } from './rpc/fs.js';
import { identityServiceHandlers } from './rpc/identity.js';
import { imageServiceHandlers } from './rpc/image.js';
import { metricsServiceHandlers } from './rpc/metrics.js';
import { nodeServiceHandlers } from './rpc/node.js';
import { SocketServer, type RegisteredService } from './rpc/server.js';
import { ProcessRuntime } from './runtime/process.js';
import { RuncRuntime } from './runtime/runc.js';
import { databaseLocation } from './store/typeorm-open.js';
import { openStore } from './store/typeorm.js';
import { Pins } from './vfs/pins.js';
import { FsUpkeep } from './vfs/upkeep.js';
import { FsUseCases } from './vfs/use-cases.js';
import { DirectoryVolumes } from './volume/directory.js';
import { ImageFileVolumes } from './volume/image-file.js';
import { UndoStack } from '../shared/undo.js';

/** The bundle lies in <project>/dist/controller/. */
const DIST = join(dirname(fileURLToPath(import.meta.url)), '..');
const PROJECT = join(DIST, '..');
const MAINTENANCE_PERIOD_MS = 1000;
const UPKEEP_PERIOD_MS = 500;
const SCRUB_PERIOD_MS = 60_000;
const IDENTITY_UPKEEP_PERIOD_MS = 60_000;

async function main(): Promise<void> {
  const settings = loadSettings({ flags: flags(), file: undefined });
  const log = createLogger('controller', settings.logLevel);
  try {
    const controller = await start(settings, log);
    for (const name of ['SIGTERM', 'SIGINT'] as const) {
      process.once(name, () => {
        log.info({ signal: name }, 'stopping; nodes run on');
        void controller.stop();
      });
    }
    await controller.ended;
  } catch (error) {
    const failure = toNexusError(error);
    log.fatal(
      { code: failure.code, details: failure.details, err: failure.code === 'internal' ? error : undefined },
      failure.message,
    );
    process.exitCode = 1;
  }
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
 * are taken back by a failed start only: an orderly end leaves them to the nodes that run on.
 */
async function start(settings: Settings, log: Logger): Promise<Controller> {
  await using starting = new UndoStack(log);
  const running = new UndoStack(log);
  starting.defer('unwind', () => running[Symbol.asyncDispose]());
  const startedAt = systemClock.now();

  const lock = lockInstance(settings.stateDir, settings.instance);
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
  const store = await openStore({ ...databaseLocation(settings, 'nexus', endForLoss), log });
  let isPurged = false;
  const end = (database: { close(): Promise<void>; erase(): Promise<void> }): Promise<void> =>
    isPurged ? database.erase() : database.close();
  running.defer('close the store', () => end(store));
  const events = new EventLog(store.events, systemClock, log);
  const registry = new NodeRegistry(store.nodes, events, systemClock);
  await registry.load();

  const identity = await openIdentity(settings, log, running, end);
  const tokenKey = await loadTokenKey(settings.stateDir);
  const subnet = parseSubnet(settings.subnet);
  const isContained = settings.runtime === 'runc';
  const runtime = isContained
    ? await RuncRuntime.open({
        runDir: settings.runDir,
        cgroupParent: settings.cgroupParent,
        runtimeDir: join(DIST, 'runtime'),
      })
    : new ProcessRuntime({ runDir: settings.runDir, agentScript: join(DIST, 'agent', 'agent.cjs') });
  await runtime.prepare();
  const network = isContained
    ? new BridgeNetwork({ instance: settings.instance, bridge: settings.bridge, subnet })
    : new LoopbackNetwork(subnet);
  deferUnlessUp('remove the network', async () => {
    if (registry.list().length === 0) await network.dispose();
  });
  await network.prepare();
  const volumesDir = join(settings.stateDir, 'volumes');
  const images = new FolderImages({
    folder: join(settings.stateDir, 'images'),
    cacheDir: join(PROJECT, '.cache'),
    buildScript: join(PROJECT, 'deploy', 'base-image.sh'),
  });
  if (isContained) await images.ensureBase();

  const bus = await makeBus(settings, network.hostAddress, log);
  running.defer('stop the bus', () => bus.stop());
  const context: NodeContext = {
    registry,
    metrics: new MetricsHistory(),
    files: store.files,
    runtime,
    network,
    subnet,
    volumes: isContained ? new ImageFileVolumes(volumesDir) : new DirectoryVolumes(volumesDir),
    bus,
    images,
    events,
    clock: systemClock,
    log,
    settings,
    tokenPublicKey: tokenKey.publicKey,
    hostMemoryBytes: totalmem(),
  };
  const service = new NodeService(context);
  const watch = new NodeWatch(service);
  await bus.start(watch);

  const storageNodes = new ClusterStorageNodes(context);
  const deps = {
    store: store.files,
    fs: store.fs,
    pins: new Pins(systemClock),
    replicas: store.replicas,
    marks: store.marks,
    nodes: storageNodes,
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
  const fs = new FsUseCases(deps, files.uploads, kickDeletion);
  const fsUpkeep = new FsUpkeep(deps, kickDeletion);

  let endNow = (): void => undefined;
  const ended = new Promise<void>((resolve) => {
    endNow = resolve;
  });
  let stopping: Promise<void> | undefined;
  const stop = (): Promise<void> => (stopping ??= running[Symbol.asyncDispose]().then(endNow));

  const servicesFor = (edge: Edge): RegisteredService[] => [
    {
      name: 'nexus.v1.NodeService',
      definition: NodeServiceService,
      handlers: { ...nodeServiceHandlers(service, upkeep, edge) },
    },
    {
      name: 'nexus.v1.ImageService',
      definition: ImageServiceService,
      handlers: { ...imageServiceHandlers(images, registry, edge) },
    },
    {
      name: 'nexus.v1.FileService',
      definition: FileServiceService,
      handlers: { ...fileServiceHandlers(files, upkeep, registry, edge) },
    },
    {
      name: 'nexus.v1.FsService',
      definition: FsServiceService,
      handlers: { ...fsServiceHandlers(fs, (name) => identity.administration.exists(name), edge) },
    },
    {
      name: 'nexus.v1.MetricsService',
      definition: MetricsServiceService,
      handlers: { ...metricsServiceHandlers(context.metrics, registry, edge) },
    },
    {
      name: 'nexus.v1.IdentityService',
      definition: IdentityServiceService,
      handlers: { ...identityServiceHandlers(identity, edge) },
    },
    {
      name: 'nexus.v1.ClusterService',
      definition: ClusterServiceService,
      handlers: {
        ...clusterServiceHandlers(
          {
            context,
            files: store.files,
            upkeep,
            events,
            startedAt,
            shutdown: (purge, tell) =>
              endCluster(service, purge, tell, () => {
                isPurged = purge;
                return stop();
              }),
          },
          edge,
        ),
      },
    },
  ];
  const protoDir = join(DIST, 'proto');
  const gatewayPlace = { path: gatewaySocket(settings), group: (await serviceUserIds(settings.serviceUser))?.gid };
  const servers = [
    new SocketServer({ path: settings.socket }, servicesFor(new LocalEdge(log)), protoDir),
    new SocketServer(gatewayPlace, servicesFor(new GatewayEdge(log, identity.sessions)), protoDir),
  ];
  const aborting = new AbortController();
  for (const server of servers) {
    running.defer('stop a socket', () => server.stop());
    await server.listen();
  }
  await reconcileAtBoot(service, aborting.signal);
  const loopDeps = { clock: systemClock, log };
  const watchLoop = startLoop('watch', WATCH_PERIOD_MS, () => watch.tick(), loopDeps);
  running.defer('stop watching', () => watchLoop.stop());
  const maintenanceLoop = startLoop(
    'file maintenance',
    MAINTENANCE_PERIOD_MS,
    (signal) => maintenance.tick(signal),
    loopDeps,
  );
  running.defer('stop file maintenance', () => maintenanceLoop.stop());
  const fsLoop = startLoop('file system upkeep', MAINTENANCE_PERIOD_MS, () => fsUpkeep.tick(), loopDeps);
  running.defer('stop file system upkeep', () => fsLoop.stop());
  const repairLoop = startLoop('repair', UPKEEP_PERIOD_MS, (signal) => upkeep.repair.tick(signal), loopDeps);
  running.defer('stop repair', () => repairLoop.stop());
  const inventoryLoop = startLoop('inventory', UPKEEP_PERIOD_MS, (signal) => upkeep.inventory.tick(signal), loopDeps);
  running.defer('stop the inventory', () => inventoryLoop.stop());
  const scrubLoop = startLoop('scrub', SCRUB_PERIOD_MS, (signal) => upkeep.scrub.tick(signal), loopDeps);
  running.defer('stop scrubbing', () => scrubLoop.stop());
  events.listen(({ type, subject }) => {
    if (type.startsWith('node.') || type === 'file.under_replicated') upkeep.nodeChanged(type, subject);
  });
  const identityLoop = startLoop('identity upkeep', IDENTITY_UPKEEP_PERIOD_MS, () => identity.upkeep(), loopDeps);
  running.defer('stop identity upkeep', () => identityLoop.stop());
  for (const server of servers) server.setServing(true);
  log.info(
    { version: VERSION, instance: settings.instance, runtime: settings.runtime, socket: settings.socket },
    'the controller is up',
  );
  isUp = true;
  starting.commit();
  return { stop, ended };
}

async function openIdentity(
  settings: Settings,
  log: Logger,
  running: UndoStack,
  end: (store: IdentityStore) => Promise<void>,
): Promise<IdentityUseCases> {
  const store = await openIdentityStore({ ...databaseLocation(settings, 'auth', endForLoss), log });
  running.defer('close the accounts', () => end(store));
  const keys = await IdentityKeys.load(join(settings.stateDir, 'identity-keys.json'), systemClock);
  const mailer = await makeMailer(settings);
  log.info({ destination: mailer.destination }, `mail goes to ${mailer.destination}`);
  const hasher = new ScryptHasher();
  const identity = new IdentityUseCases({ store, hasher, mailer, keys, clock: systemClock, log, settings });
  running.defer('send the mail that waits', () => identity.close());
  return identity;
}

async function makeMailer(settings: Settings): Promise<Mailer> {
  const { smtpHost: host, stateDir, instance } = settings;
  const from = settings.mailFrom ?? `${instance}@localhost`;
  if (host !== undefined) return await SmtpMailer.open({ ...settings, host, from });
  return await OutboxMailer.open(settings.outboxDir ?? join(stateDir, 'outbox'), from, systemClock);
}

/** Somebody else has the database now, and with it the nodes: this controller must not touch them any more. */
function endForLoss(): void {
  process.exitCode = 1;
  process.kill(process.pid, 'SIGTERM');
}

async function makeBus(settings: Settings, host: string, log: Logger): Promise<NatsBus> {
  if (settings.natsUrl !== undefined) {
    const access = await externalAccess({
      url: settings.natsUrl,
      accountSeedFile: settings.natsAccountSeedFile,
      accountPublicKey: settings.natsAccountPublicKey,
      systemCredsFile: settings.natsSystemCredsFile,
    });
    return new NatsBus(access, settings.instance, log, undefined);
  }
  const accounts = await loadAccounts(settings.stateDir);
  const user = await serviceUserIds(settings.serviceUser);
  const { natsPort: port, runDir } = settings;
  const server = new NatsServer({ host, port, runDir, accounts, user, clock: systemClock, log });
  await server.start();
  return new NatsBus(await ownServerAccess(server, accounts), settings.instance, log, server);
}

type Tell = (progress: string) => Promise<void>;

/** `nexus down`: nodes stop and will start again with the next `up`; with purge all that Nexus made is removed. */
async function endCluster(service: NodeService, purge: boolean, tell: Tell, stop: () => Promise<void>): Promise<void> {
  const { registry, runtime, network, settings } = service.context;
  const verb = purge ? 'removing' : 'stopping';
  await Promise.all(
    registry.list().map(async (node) => {
      await tell(`${verb} node ${node.name}`);
      await (purge ? service.remove(node.id, true) : service.suspend(node)).catch((error: unknown) => {
        // It was being removed, or its creation undone, before our turn came.
        if (toNexusError(error).code !== 'not_found') throw error;
      });
    }),
  );
  await runtime.dispose();
  await network.dispose();
  await tell('stopping the bus and the controller');
  // The answer must be out before the socket goes: the rest happens once this call has ended.
  setImmediate(() => {
    void stop().then(async () => {
      if (!purge) return;
      await rm(settings.stateDir, { recursive: true, force: true });
      await rm(settings.runDir, { recursive: true, force: true });
    });
  });
}

await main();

/**
 * The controller: settings, log and signals; the parts in compose/ are started in order and ended in reverse.
 * The sockets listen when everything behind them is wired. SIGTERM and SIGINT end it and leave the nodes running; the
 * Shutdown call stops or purges them first.
 */
import '../shared/debugger-signal.js';
import { setMaxListeners } from 'node:events';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { inCommandWords } from '../shared/advice/command-words.js';
import { deferred } from '../shared/async/wait.js';
import { systemClock } from '../shared/async/clock.js';
import { CONTROLLER_LOG, CONTROLLER_UP } from '../shared/config/instance.js';
import { keyName, loadSettings, SETTING_NAMES, type Settings } from '../shared/config/settings.js';
import { NexusError, toNexusError } from '../shared/errors.js';
import { MIB } from '../shared/limits.js';
import { createProcessLog, orLastWord, type ProcessLog } from '../shared/log.js';
import { UndoStack } from '../shared/async/undo.js';
import { VERSION } from '../shared/version.js';
import { openInstance } from './compose/instance.js';
import { Loops } from './compose/loops.js';
import { composeNodes } from './compose/nodes.js';
import { makeSockets } from './compose/sockets.js';
import { Starting } from './compose/starting.js';
import { composeStorage } from './compose/storage.js';
import { GatewayProcess } from './gateway/process.js';
import { leaveInheritance } from './host/inherited.js';
import { endCluster } from './node/life/end-cluster.js';
import { reconcileAtBoot } from './node/watch/reconcile.js';
import type { UseCases } from './compose/services.js';

/** The bundle lies in <project>/dist/controller/. */
const DIST = join(dirname(fileURLToPath(import.meta.url)), '..');
const PLACES = { dist: DIST, project: join(DIST, '..') };
const LAMBDA_PERIOD_MS = 1000;
const IDENTITY_UPKEEP_PERIOD_MS = 60_000;

async function main(): Promise<void> {
  const settings = orLastWord('controller', () => loadSettings({ flags: flags() }));
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
        log.info({ signal: name }, 'stopping; nodes keep running');
        asked.abort(new NexusError('cancelled', 'the controller was asked to end while it started'));
        void starting.then(
          (controller) => controller.close(),
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
      inCommandWords(failure),
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
  close(): Promise<void>;
  readonly ended: Promise<void>;
}

/**
 * Everything that was started goes on one stack, which a failed start and an orderly end both unwind. A start that is
 * `asked` to end fails: between two steps, and where it only waits at once.
 */
async function start(settings: Settings, processLog: ProcessLog, asked: AbortSignal): Promise<Controller> {
  const { log } = processLog;
  await using unwinding = new UndoStack(log);
  const running = new UndoStack(log);
  unwinding.defer('unwind', () => running[Symbol.asyncDispose]());
  const starting = new Starting(settings, processLog, PLACES, asked, running);
  const startedAt = systemClock.now();

  const instance = await openInstance(starting);
  const { store, identity } = instance;
  const nodes = await composeNodes(starting, instance);
  const { service, lambda } = nodes;
  const loops = new Loops(starting);
  const storage = await composeStorage(starting, instance, nodes, loops);

  const { promise: ended, resolve: endNow } = deferred();
  let stopping: Promise<void> | undefined;
  const stop = (last: () => Promise<void> = () => Promise.resolve()): Promise<void> =>
    (stopping ??= running[Symbol.asyncDispose]().then(last).finally(endNow));
  const gateway = new GatewayProcess(
    { program: join(DIST, 'gateway', 'main.js'), settings, clock: systemClock, log },
    () => {
      loops.kick('gateway');
    },
  );
  const shutdown: UseCases['cluster']['shutdown'] = async (purge, tell) => {
    await tell('stopping the gateway');
    await gateway.close();
    await endCluster(service, purge, tell, (last) => {
      starting.isPurged = purge;
      return stop(last);
    });
  };

  const { files, fs, upkeep, invocations, document, snapshot } = storage;
  const servers = await makeSockets(starting, {
    store,
    nodes: service,
    files,
    fs,
    upkeep,
    lambda: { lambda, invocations },
    identity,
    document,
    cluster: { startedAt, ownLog: processLog.sink, shutdown, snapshot, gateway: () => gateway.status },
  });
  loops.add([
    ...nodes.loops(),
    ...storage.loops,
    { name: 'lambda', periodMs: LAMBDA_PERIOD_MS, tick: (signal) => lambda.tick(signal) },
    { name: 'identity upkeep', periodMs: IDENTITY_UPKEEP_PERIOD_MS, tick: () => identity.upkeep() },
  ]);
  lambda.onRefill(() => {
    loops.kick('lambda');
  });
  // Stops before the rest: what it has begun needs all of it.
  starting.defer('stop the gateway', () => gateway.close());
  loops.add([{ name: 'gateway', periodMs: () => gateway.periodMs, tick: () => gateway.tick() }]);
  // First of all: whoever comes now must not be served by what is ending.
  starting.defer('take no more calls of people', () => {
    void servers[0]?.close();
    return Promise.resolve();
  });
  for (const server of servers) await server.listen();
  starting.throwIfAsked();
  await lambda.prepare();
  starting.throwIfAsked();
  await reconcileAtBoot(service, asked);
  starting.throwIfAsked();
  loops.start();
  for (const server of servers) server.setServing(true);
  log.info(
    {
      note: CONTROLLER_UP,
      version: VERSION,
      instance: settings.instance,
      runtime: settings.runtime,
      socket: settings.socket,
    },
    'the controller is up',
  );
  starting.isUp = true;
  unwinding.commit();
  return { close: stop, ended };
}

void main();

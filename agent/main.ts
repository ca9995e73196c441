/**
 * The agent of one node: owns the volume, stores chunks, reports. The last line of its log gives the reason for its end
 * and has the field `ending`; only a kill leaves none.
 * It starts volume and chunks, data server, heartbeats, in this order; the bus is connected to meanwhile. At the end running transfers finish,
 * heartbeats stop, then the servers and the bus are closed.
 */
import '../shared/debugger-signal.js';
import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { promisify } from 'node:util';
import { rmSync, writeFileSync } from 'node:fs';
import { rm } from 'node:fs/promises';
import { dirname } from 'node:path';
import type { Server } from 'node:http';
import { deferred, endsWithin } from '../shared/async/wait.js';
import type { AgentEnding } from '../shared/agent-ending.js';
import { subjectsOf } from '../shared/bus/subjects.js';
import { keepYoungGeneration } from '../shared/young-generation.js';
import { systemClock } from '../shared/async/clock.js';
import type { AgentConfig, AgentPlaces } from '../shared/config/agent-config.js';
import { publicKeyOf } from '../shared/chunk-token.js';
import type { NodeId } from '../shared/ids.js';
import { HEARTBEAT_INTERVAL_MS } from '../shared/limits.js';
import { dropNotice, LogSink } from '../shared/log-sink.js';
import { VERSION } from '../shared/version.js';
import { Beats } from './beats.js';
import { connectNatsBus } from './bus/nats.js';
import type { AgentBus } from './bus/port.js';
import { createDataServer, createStatusServer } from './chunk/server.js';
import { CommandLog } from './command-log.js';
import { CommandResponder } from './commands.js';
import { appears, DEFAULT_CONFIG_FILE, loadAgentConfig, loadAgentPlaces } from './config.js';
import { openGround, type Ground } from './ground.js';
import { createAgentLog, type AgentLog } from './log.js';
import { encodeHeartbeat, readUsage, type AgentIdentity, type NodeUsage } from './report.js';
import { inspection, statusPages, type StatusSources } from './status-pages.js';
import { claimFolder, DirectoryVolume } from './volume/directory.js';
import { toAgentError } from './volume/errors.js';
import { MountedVolume } from './volume/mounted.js';
import type { Volume } from './volume/port.js';

/** Grace of running transfers, in ms, when a signal ends the agent: unlike the command, it names none. */
const SIGNAL_GRACE_MS = 5000;

/** Limits how long a heartbeat waits for the figures that are due with it; the next one carries them otherwise. */
const REPORT_WAIT_MS = 250;

async function main(): Promise<void> {
  const sink = new LogSink({ notice: dropNotice('agent') });
  const log = createAgentLog({}, 'info', (line) => {
    sink.write(line);
  });
  process.on('exit', () => {
    sink.finish();
  });
  // Before anything else: a signal must not be lost while the volume is read or the bus is away.
  const ended = endRequest();
  const fail = (what: string, thrown: unknown): never => {
    const { code, message } = toAgentError(thrown);
    log.error({ ending: 'failed' satisfies AgentEnding, code, err: thrown }, `the agent cannot ${what}: ${message}`);
    process.exit(1);
  };
  process.on('uncaughtException', (thrown) => fail('go on', thrown));
  // Node itself would write it to standard error, where a blocked reader can stall the process.
  process.removeAllListeners('warning');
  process.on('warning', (warning) => {
    log.warn({ err: warning }, 'a warning of Node.js');
  });
  try {
    const file = process.env['NEXUS_AGENT_CONFIG'] ?? DEFAULT_CONFIG_FILE;
    const waiting = process.env['NEXUS_AGENT_WAITING'];
    const ground = waiting === undefined ? undefined : await waitForConfig(file, waiting, ended, log);
    await run(loadAgentConfig(file), ground, ended, log, () => sink.dropped);
    await sink.settled();
    process.exit(0);
  } catch (thrown) {
    fail('run', thrown);
  }
}

/**
 * Opens the node's volume once there is one, and waits for the configuration: the agent is started before the node's file
 * system is put together, and that of a spare before anybody knows whose it will be. Has the file `waiting` meanwhile, in a
 * folder that is made when the file system is.
 */
async function waitForConfig(file: string, waiting: string, { asked }: EndRequest, log: AgentLog): Promise<Ground> {
  if (!(await appears(dirname(waiting), asked))) process.exit(0);
  const ground = await groundAt(loadAgentPlaces(file), log);
  if (!(await appears(file, asked, () => writeFileSync(waiting, '')))) process.exit(0);
  rmSync(waiting, { force: true });
  return ground;
}

/** `opened`: what the agent has from the time when it waited. */
async function run(
  config: AgentConfig,
  opened: Ground | undefined,
  ended: EndRequest,
  log: AgentLog,
  logLinesDropped: () => number,
): Promise<void> {
  const startedAtMs = systemClock.now();
  // Sent on each connection, so that after a break the controller need not wait for the next interval.
  let onConnected = (): void => undefined;
  // `bus` is set once connected; messages before that are dropped.
  const link: { bus?: AgentBus; beats?: Beats } = {};
  const { natsUrl: url, credsFile } = config;
  const clientName = `nexus-agent ${config.nodeName}`;
  // Begun first: it waits for the network while the volume waits for the disk.
  const connecting = connectNatsBus(
    { url, credsFile, clientName, log, beatMs: () => link.beats?.intervalMs ?? HEARTBEAT_INTERVAL_MS },
    { onConnected: () => onConnected() },
  );
  const ground = opened ?? (await groundAt(config, log));
  const { cgroup, health, store, receiptKey, transfers, flush } = ground;
  const nodeId = config.nodeId as NodeId;
  await health.start();
  const now = (): number => systemClock.now();
  const identity: AgentIdentity = {
    nodeId,
    agentInstance: randomBytes(8).toString('hex'),
    startedAtMs,
    version: VERSION,
    receiptPublicKey: receiptKey.publicKey,
  };
  const { nodeName, networkInterface } = config;
  const usage = (): Promise<NodeUsage> =>
    readUsage({
      cgroup,
      volume: health,
      networkInterface,
      chunkCounters: () => store.counters,
      logLinesDropped,
      now,
    });
  const commands = new CommandLog();
  const sources: StatusSources = {
    identity,
    nodeName,
    usage,
    transfers,
    connections: () => countConnections(dataServer),
    busConnected: () => link.bus?.connected ?? false,
    heartbeatIntervalMs: () => beats.intervalMs,
    commands,
    listChunks: (after, limit) => store.list(after, limit),
    now,
  };
  const tokenKey = publicKeyOf(Buffer.from(config.tokenPublicKey, 'base64'));
  const context = { nodeId, tokenKey, clock: systemClock, store, transfers, receiptKey, health, flush, log };
  const dataServer = createDataServer(context, statusPages(sources));
  const statusServer = createStatusServer(log, statusPages(sources));
  await listen(dataServer, { host: config.host, port: config.port });
  if ('path' in config.statusSocket) await rm(config.statusSocket.path, { force: true });
  await listen(statusServer, config.statusSocket);

  const subjects = subjectsOf(config.instance);
  let reported: NodeUsage | undefined;
  const beat = (): void => {
    // Known without asking the volume: a report may wait for a disk that hangs.
    const report = reported === undefined ? undefined : { ...reported, condition: health.condition };
    const { draining } = transfers;
    const heartbeat = encodeHeartbeat(identity, { draining, intervalMs: beats.intervalMs, reported: report });
    link.bus?.publish(subjects.heartbeat(nodeId), heartbeat);
  };
  const beatWithReport = async (): Promise<void> => {
    const made = usage().then(
      (now) => {
        reported = now;
      },
      (error: unknown) => {
        log.error({ err: error }, 'the report could not be made');
      },
    );
    await endsWithin(REPORT_WAIT_MS, made);
    beat();
  };
  const beats = new Beats(nodeId, {
    beat: (reports) => {
      if (reports) void beatWithReport();
      else beat();
    },
    look: () => {
      health.tick(beats.intervalMs);
    },
  });
  link.beats = beats;
  beats.start();
  ground.tellHealth = beat;
  onConnected = beat;
  const joinBus = async (bus: AgentBus): Promise<void> => {
    link.bus = bus;
    const inspect = (): Promise<string> => inspection(sources);
    const pace = (ms: number): void => {
      beats.keepTo(ms);
    };
    const responder = new CommandResponder({ ...context, inspect, pace, shutdown: ended.ask, commands });
    bus.serve(subjects.command(nodeId), (request) => responder.answer(request));
    // A node that counts as running should have reported its free room.
    await beatWithReport();
    keepYoungGeneration();
    log.info(
      { version: VERSION, address: `${config.host}:${config.port}`, chunks: store.counters.chunks },
      'the agent is up',
    );
  };
  // The bus may be away for a long time; meanwhile a request to end must work.
  await Promise.race([connecting.then(joinBus), ended.asked]);

  const graceMs = await ended.asked;
  log.info({ graceMs }, 'the agent is ending');
  const isIdle = await transfers.drain(graceMs);
  if (!isIdle) log.warn({ active: transfers.active }, 'transfers were aborted at the end of their grace period');
  beats[Symbol.dispose]();
  for (const server of [dataServer, statusServer]) {
    server.close();
    server.closeAllConnections();
  }
  await link.bus?.close();
  log.info({ ending: 'asked' satisfies AgentEnding }, 'the agent ended as requested');
}

const countConnections = (server: Server): Promise<number> => promisify(server.getConnections.bind(server))();

interface EndRequest {
  /** Resolves with the grace, ms. */
  readonly asked: Promise<number>;
  readonly ask: (graceMs: number) => void;
}

/** A request to end, by signal or by command; the first one counts. */
function endRequest(): EndRequest {
  const { promise: asked, resolve: ask } = deferred<number>();
  for (const signal of ['SIGTERM', 'SIGINT', 'SIGHUP'] as const) {
    process.on(signal, () => {
      ask(SIGNAL_GRACE_MS);
    });
  }
  return { asked, ask };
}

async function listen(
  server: Server,
  where: { host: string; port: number } | AgentConfig['statusSocket'],
): Promise<void> {
  server.listen(where);
  await once(server, 'listening');
}

function groundAt(places: AgentPlaces, log: AgentLog): Promise<Ground> {
  const { dataDir, volume } = places;
  const make = async (storedBytes: () => number): Promise<Volume> => {
    if (volume.kind === 'mounted') return new MountedVolume(dataDir);
    await claimFolder(dataDir);
    return new DirectoryVolume(dataDir, volume.sizeBytes, storedBytes);
  };
  return openGround(places, make, log);
}

// The bundle is CommonJS, which has no top-level await.
void main();

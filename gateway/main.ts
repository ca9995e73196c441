/**
 * The gateway's composition. It may be started by root, to read a key that nobody else may read, and becomes the service
 * user before it listens. SIGTERM and SIGINT end it in order.
 */
import '../shared/debugger-signal.js';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { inCommandWords } from '../shared/advice/command-words.js';
import { gatewaySocket, keyName, loadSettings, SETTING_NAMES, type Settings } from '../shared/config/settings.js';
import { NexusError, toNexusError } from '../shared/errors.js';
import { serviceUserIds, type UserIds } from '../shared/host/service-user.js';
import { GATEWAY_LOG } from '../shared/config/instance.js';
import { MIB } from '../shared/limits.js';
import { createProcessLog, orLastWord, type ProcessLog } from '../shared/log.js';
import { REQUEST_BYTES, Shares } from '../shared/shares.js';
import { createApp } from './app.js';
import { ChunkRelay } from './doors/chunks/relay.js';
import { clientAddress } from './http/client-address.js';
import { Controller } from './controller/controller.js';
import { GRPC_BOUNDS, GrpcEdge } from './doors/grpc/edge.js';
import { limitsOf } from './http/limits.js';
import { Listener, makeConnections } from './listener.js';
import { readersOf } from './doors/metrics/routes.js';

async function main(): Promise<void> {
  const settings = orLastWord('gateway', () => loadSettings({ flags: flags() }));
  const processLog = openLog(settings);
  const { log, sink } = processLog;
  try {
    const stop = await start(settings, processLog);
    let stopping: Promise<void> | undefined;
    // Again and again: a second one must not end it in the middle of its end.
    for (const name of ['SIGTERM', 'SIGINT', 'SIGHUP'] as const) {
      process.on(name, () => {
        log.info({ signal: name }, 'stopping; running requests may finish');
        // Not left to an empty event loop: a line that waits for a reader who does not read would keep it from ending.
        stopping ??= stop()
          .then(() => sink.settled())
          .then(() => process.exit());
      });
    }
  } catch (error) {
    const failure = toNexusError(error);
    log.fatal({ code: failure.code, err: failure.code === 'internal' ? error : undefined }, inCommandWords(failure));
    process.exit(1);
  }
}

function openLog({ logLevel, logMaxMb, logFiles, runDir }: Settings): ProcessLog {
  const file = { path: join(runDir, GATEWAY_LOG), maxBytes: logMaxMb * MIB, files: logFiles };
  return createProcessLog('gateway', logLevel, file);
}

function flags(): Record<string, string | undefined> {
  const options = Object.fromEntries(SETTING_NAMES.map((name) => [keyName(name), { type: 'string' as const }]));
  const { values } = parseArgs({ options, strict: true });
  return Object.fromEntries(SETTING_NAMES.map((name) => [name, values[keyName(name)]]));
}

async function start(settings: Settings, { log, sink }: ProcessLog): Promise<() => Promise<void>> {
  const tls = readTls(settings);
  const ids = await serviceUserIds(settings.serviceUser);
  const limits = limitsOf(settings);
  const controller = new Controller(gatewaySocket(settings));
  const draining = new AbortController();
  const relay = new ChunkRelay(limits.stallMs);
  const connections = makeConnections(settings.gatewayProxies, log);
  const app = createApp({
    controller,
    relay,
    limits,
    log,
    ownLog: sink,
    connections,
    isTls: tls !== undefined,
    corsOrigins: settings.gatewayCorsOrigins,
    proxies: settings.gatewayProxies,
    mayReadMetrics: readersOf(settings.gatewayMetricsFrom),
    draining: draining.signal,
  });
  dropPrivileges(ids);
  const { gatewayHost: host, gatewayPort: port } = settings;
  const handle = app.callback();
  const grpc = new GrpcEdge({
    socketPath: gatewaySocket(settings),
    log,
    firstMessageMs: limits.bodyTimeoutMs,
    bounds:
      settings.gatewayProxies === 0 ? GRPC_BOUNDS : { ...GRPC_BOUNDS, connectionsPerPeer: GRPC_BOUNDS.connections },
    bodies: new Shares(REQUEST_BYTES),
    addressOf: (direct, forwardedFor) => clientAddress(direct, forwardedFor, settings.gatewayProxies),
  });
  const options = { host, port, tls, limits, connections };
  const listener = new Listener((request, response) => void handle(request, response), grpc, options);
  await listener.listen();
  log.info({ host, port: listener.port, uid: process.getuid?.() }, 'the gateway is up');
  return async () => {
    draining.abort();
    await listener.drain();
    relay.close();
    controller.close();
    log.info('the gateway has stopped');
  };
}

/** From root to the service user, for good. `ids` undefined: it was not started by root. Code: failed_precondition. */
function dropPrivileges(ids: UserIds | undefined): void {
  process.umask(0o077);
  if (ids !== undefined) {
    if (ids.uid === 0) throw new NexusError('failed_precondition', 'service-user must not be root');
    process.setgroups?.([ids.gid]);
    process.setgid?.(ids.gid);
    process.setuid?.(ids.uid);
  }
  if (process.getuid?.() === 0 || process.geteuid?.() === 0)
    throw new NexusError('failed_precondition', 'the gateway never runs as root');
}

function readTls({
  gatewayTlsCertFile: cert,
  gatewayTlsKeyFile: key,
}: Settings): { cert: Buffer; key: Buffer } | undefined {
  if (cert === undefined || key === undefined) return undefined;
  return { cert: readFileSync(cert), key: readFileSync(key) };
}

void main();

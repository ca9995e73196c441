/** Each implementation of the controller's bus, not yet started, and agents that speak on it with its credentials. */
import { createRequire } from 'node:module';
import { createServer, type AddressInfo } from 'node:net';
import { once } from 'node:events';
import { readdirSync, readFileSync } from 'node:fs';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { connect, credsAuthenticator } from '@nats-io/transport-node';
import { advisoryCredentials, loadAccounts, type Accounts } from '../../controller/bus/credentials.js';
import { FakeBus, type FakeAnswer } from '../fakes/agent-bus.js';
import { externalAccess, NatsBus, ownServerAccess, type BusAccess } from '../../controller/bus/nats.js';
import { FakeLogWriters } from '../fakes/log-writers.js';
import { NatsServer } from '../../controller/bus/nats-server.js';
import type { AgentBus } from '../../controller/bus/port.js';
import nacl from '../../shared/bus/nacl.js';
import { subjectsOf } from '../../shared/bus/subjects.js';
import { systemClock } from '../../shared/async/clock.js';
import { AgentCommand, AgentHeartbeat, AgentReply, AgentReport } from '../../shared/gen/nexus/v1/agent.js';
import type { NodeId } from '../../shared/ids.js';
import { createLogger } from '../../shared/log.js';
import { eventually } from './cluster.js';

export interface AgentOnBus {
  /** `of`: the node that it pretends to be. */
  heartbeat(heartbeat: AgentHeartbeat, of?: NodeId): void;
  report(report: AgentReport, of?: NodeId): void;
  /** Bytes that are no heartbeat, in the place of one. */
  garbage(): void;
  close(): Promise<void>;
}

export interface OpenedBus {
  readonly bus: AgentBus;
  /** Without an answer the agent hears commands and says nothing. */
  connect(node: NodeId, credentials: string, answer?: FakeAnswer): Promise<AgentOnBus>;
  /** Ends the bus abruptly; it comes back by itself or by `comeBack`. */
  goDown(): void;
  comeBack(): void;
  /** The server keeps all connections and does nothing, until `goOn`, or it is replaced. */
  hang(): Promise<void>;
  goOn(): void;
  dispose(): Promise<void>;
}

export interface BusVariant {
  readonly name: string;
  readonly needsServer: boolean;
  readonly tellsDisconnects: boolean;
  readonly ownsServer: boolean;
  open(): Promise<OpenedBus>;
}

/**
 * Signs with OpenSSL as the bundles do, until it is taken back: nkeys looks its functions up in tweetnacl each time. With
 * those of JavaScript this took half a minute of the tests of the bus.
 */
export function signByOpenssl(): () => void {
  const nkeys = createRequire(createRequire(import.meta.url).resolve('@nats-io/nkeys'));
  const { sign } = nkeys('tweetnacl') as typeof nacl;
  const { detached } = sign;
  const { fromSeed } = sign.keyPair;
  sign.detached = nacl.sign.detached;
  sign.keyPair.fromSeed = nacl.sign.keyPair.fromSeed;
  return () => {
    sign.detached = detached;
    sign.keyPair.fromSeed = fromSeed;
  };
}

const log = createLogger('test', 'silent');
const INSTANCE = 'ctbus';
const SILENCE: FakeAnswer = () => new Promise(() => undefined);

const inMemory: BusVariant = {
  name: 'in memory',
  needsServer: false,
  tellsDisconnects: true,
  ownsServer: false,
  open: async () => {
    const bus = new FakeBus();
    return {
      bus,
      connect: async (_node, credentials, answer) => {
        const link = bus.connect(credentials, answer);
        return { ...link, garbage: () => undefined, close: async () => link.close() };
      },
      goDown: () => bus.goDown(),
      comeBack: () => bus.comeBack(),
      hang: () => {
        bus.passesMessages = false;
        return Promise.resolve();
      },
      goOn: () => {
        bus.passesMessages = true;
      },
      dispose: () => bus.close(),
    };
  },
};

/** A real server in a folder of its own; `access` decides how the controller comes to it. */
async function openNats(
  access: (server: NatsServer, accounts: Accounts, folder: string) => Promise<BusAccess>,
  ownsServer: boolean,
): Promise<OpenedBus> {
  const folder = await mkdtemp(join(tmpdir(), 'nexus-bus-'));
  const accounts = await loadAccounts(folder);
  const listen = { host: '127.0.0.1', port: await freePort() };
  const server = new NatsServer({
    ...listen,
    runDir: folder,
    accounts,
    user: undefined,
    clock: systemClock,
    log,
    logs: new FakeLogWriters(),
  });
  await server.start();
  const bus = new NatsBus(await access(server, accounts, folder), INSTANCE, log, ownsServer ? server : undefined);
  const agents: AgentOnBus[] = [];
  return {
    bus,
    connect: async (node, credentials, answer) => {
      const agent = await connectAgent(server.url, node, credentials, answer ?? SILENCE);
      agents.push(agent);
      return agent;
    },
    goDown: () => process.kill(server.pid, 'SIGKILL'),
    // The server is started again by who started it.
    comeBack: () => undefined,
    hang: () => stopProcess(server.pid),
    goOn: () => process.kill(server.pid, 'SIGCONT'),
    dispose: async () => {
      for (const agent of agents) await agent.close();
      await bus.close();
      await server.close();
      await rm(folder, { recursive: true });
    },
  };
}

/** Resolves when none of its threads runs any more: on a busy machine that takes a moment after the signal. */
async function stopProcess(pid: number): Promise<void> {
  process.kill(pid, 'SIGSTOP');
  const states = (): string[] =>
    readdirSync(`/proc/${pid}/task`).map((thread) => {
      const stat = readFileSync(`/proc/${pid}/task/${thread}/stat`, 'utf8');
      return stat.slice(stat.lastIndexOf(')') + 2)[0] ?? '';
    });
  await eventually(states, (all) => all.every((state) => state === 'T'));
}

async function connectAgent(url: string, node: NodeId, credentials: string, answer: FakeAnswer): Promise<AgentOnBus> {
  const connection = await connect({
    servers: url,
    authenticator: credsAuthenticator(Buffer.from(credentials)),
    maxReconnectAttempts: -1,
    reconnectTimeWait: 50,
  });
  const subjects = subjectsOf(INSTANCE);
  connection.subscribe(subjects.command(node), {
    callback: (_error, message) => {
      void answer(AgentCommand.decode(message.data)).then((reply) =>
        message.respond(AgentReply.encode(AgentReply.fromPartial(reply)).finish()),
      );
    },
  });
  await connection.flush();
  return {
    heartbeat: (heartbeat, of = node) =>
      connection.publish(subjects.heartbeat(of), AgentHeartbeat.encode(heartbeat).finish()),
    report: (report, of = node) => connection.publish(subjects.report(of), AgentReport.encode(report).finish()),
    garbage: () => connection.publish(subjects.heartbeat(node), new Uint8Array(20).fill(0xff)),
    close: () => connection.close(),
  };
}

const ownServer: BusVariant = {
  name: 'NATS, own server',
  needsServer: true,
  tellsDisconnects: true,
  ownsServer: true,
  open: () => openNats(ownServerAccess, true),
};

/** Accounts as an operator would hand them over: a file with the seed, and perhaps one for the advisories. */
const external = (systemCreds: boolean) => async (server: NatsServer, accounts: Accounts, folder: string) => {
  const seed = join(folder, 'account.seed');
  await writeFile(seed, `${Buffer.from(accounts.nodes.getSeed()).toString()}\n`);
  const creds = join(folder, 'system.creds');
  await writeFile(creds, await advisoryCredentials(accounts));
  return await externalAccess({
    url: server.url,
    accountSeedFile: seed,
    accountPublicKey: undefined,
    systemCredsFile: systemCreds ? creds : undefined,
  });
};

const externalServer = (tellsDisconnects: boolean): BusVariant => ({
  name: tellsDisconnects ? 'NATS, external with advisories' : 'NATS, external',
  needsServer: true,
  tellsDisconnects,
  ownsServer: false,
  open: () => openNats(external(tellsDisconnects), false),
});

async function freePort(): Promise<number> {
  const server = createServer();
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo;
  server.close();
  await once(server, 'close');
  return port;
}

export const BUSES: readonly BusVariant[] = [inMemory, ownServer, externalServer(true), externalServer(false)];

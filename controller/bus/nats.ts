/** The agents' bus over NATS: our own server or an external one. */
import { readFile } from 'node:fs/promises';
import {
  connect,
  credsAuthenticator,
  type Msg,
  NoRespondersError,
  RequestError,
  TimeoutError,
  type NatsConnection,
} from '@nats-io/transport-node';
import { decode } from '@nats-io/jwt';
import { fromSeed, type KeyPair } from '@nats-io/nkeys';
import { outcome } from '../../shared/async/wait.js';
import { systemClock } from '../../shared/async/clock.js';
import { parseAgentSubject, subjectsOf } from '../../shared/bus/subjects.js';
import { isErrorCode, NexusError } from '../../shared/errors.js';
import { AgentCommand, AgentHeartbeat, AgentReply, AgentReport } from '../../shared/gen/nexus/v1/agent.js';
import { MAX_REPLICAS } from '../../shared/limits.js';
import { plainText } from '../../shared/plain-text.js';
import { isNodeId, type NodeId } from '../../shared/ids.js';
import type { Logger } from '../../shared/log.js';
import { advisoryCredentials, agentCredentials, controllerCredentials } from './credentials.js';
import type { Accounts } from './credentials.js';
import type { NatsServer } from './nats-server.js';
import type { AgentBus, BusListener } from './port.js';

/** Address of the bus, and the keys that sign for it. */
export interface BusAccess {
  readonly url: string;
  readonly accountKey: KeyPair;
  /** Set if `accountKey` is only a signing key of the account. */
  readonly issuerAccount: string | undefined;
  /** Credentials for disconnect advisories; undefined: only missing heartbeats show a disconnect. */
  readonly advisoryCreds: string | undefined;
}

export async function ownServerAccess(server: NatsServer, accounts: Accounts): Promise<BusAccess> {
  return {
    url: server.url,
    accountKey: accounts.nodes,
    issuerAccount: undefined,
    advisoryCreds: await advisoryCredentials(accounts),
  };
}

export async function externalAccess(options: {
  readonly url: string;
  readonly accountSeedFile: string | undefined;
  readonly accountPublicKey: string | undefined;
  readonly systemCredsFile: string | undefined;
}): Promise<BusAccess> {
  if (options.accountSeedFile === undefined) {
    throw new NexusError(
      'invalid_argument',
      'setting nats-url needs nats-account-seed-file: agents get their credentials from it',
    );
  }
  const seed = (await readNamed('nats-account-seed-file', options.accountSeedFile)).trim();
  const { systemCredsFile } = options;
  return {
    url: options.url,
    accountKey: fromSeed(Buffer.from(seed)),
    issuerAccount: options.accountPublicKey,
    advisoryCreds:
      systemCredsFile === undefined ? undefined : await readNamed('nats-system-creds-file', systemCredsFile),
  };
}

const readNamed = (setting: string, path: string): Promise<string> =>
  readFile(path, 'utf8').catch((error: unknown) => {
    const why = (error as NodeJS.ErrnoException).code === 'ENOENT' ? 'there is no such file' : String(error);
    throw new NexusError('invalid_argument', `setting ${setting}: ${path}: ${why}`, {}, { cause: error });
  });

/** An agent sends three or four messages a second, and a few more when its volume's state changes or it reconnects. */
const PERIOD_SECONDS = 5;
const MESSAGES_PER_PERIOD = 250;

export class NatsBus implements AgentBus {
  #connection: NatsConnection | undefined;
  #advisories: NatsConnection | undefined;
  #isUp = true;
  /** Whether the last pulse was answered. */
  #isAnswering = true;
  /** Rejects the requests in flight when the connection is lost. */
  readonly #onOutage = new Set<(error: Error) => void>();
  readonly #subjects;
  /** Messages of each agent in the current period. */
  readonly #received = new Map<NodeId, { readonly since: number; messages: number }>();

  constructor(
    private readonly access: BusAccess,
    private readonly instance: string,
    private readonly log: Logger,
    private readonly server: NatsServer | undefined,
    private readonly connectTimeoutMs = 5000,
  ) {
    this.#subjects = subjectsOf(instance);
  }

  get url(): string {
    return this.access.url;
  }

  get serverPid(): number {
    return this.server?.pid ?? 0;
  }

  async start(listener: BusListener): Promise<void> {
    const { accountKey, issuerAccount, advisoryCreds } = this.access;
    const connection = await this.#connect(await controllerCredentials(accountKey, issuerAccount));
    this.#connection = connection;
    this.#watchStatus(connection, listener);
    connection.subscribe(this.#subjects.allAgents, {
      callback: (error, message) => {
        if (error === null) this.#deliver(message, listener);
      },
    });
    connection.subscribe(this.#subjects.pulse, {
      callback: (error, message) => {
        if (error === null) message.respond();
      },
    });
    if (advisoryCreds !== undefined) await this.#watchDisconnects(advisoryCreds, listener);
    await connection.flush();
  }

  async request(node: NodeId, command: AgentCommand, timeoutMs: number): Promise<AgentReply> {
    // The client would queue the command and send it after the outage, when nobody waits for it any more.
    if (this.#connection === undefined || !this.#isUp) {
      throw new NexusError('unavailable', 'the bus is not connected; the controller is trying to reach it');
    }
    if (!this.#isAnswering) {
      throw new NexusError('unavailable', 'the bus does not answer', {}, { advice: { key: 'await-recovery' } });
    }
    let answer: Msg;
    try {
      const payload = AgentCommand.encode(command).finish();
      const subject = this.#subjects.command(node);
      answer = await this.#orOutage(this.#connection.request(subject, payload, { timeout: timeoutMs }));
    } catch (error) {
      throw requestFailure(error, node, timeoutMs);
    }
    const reply = decodedReply(node, answer.data);
    if (reply.errorCode === '') return reply;
    const code = isErrorCode(reply.errorCode) ? reply.errorCode : 'internal';
    throw new NexusError(code, plainText(reply.errorMessage), { corrupt_node_ids: reply.corruptNodeIds });
  }

  async pulse(timeoutMs: number): Promise<boolean> {
    if (this.#connection === undefined || !this.#isUp) return false;
    const asked = this.#orOutage(this.#connection.request(this.#subjects.pulse, undefined, { timeout: timeoutMs }));
    this.#isAnswering = await asked.then(
      () => true,
      () => false,
    );
    return this.#isAnswering;
  }

  replaceServer(): Promise<boolean> {
    this.server?.replace();
    return Promise.resolve(this.server !== undefined);
  }

  issueCredentials(node: NodeId): Promise<string> {
    return agentCredentials(node, this.instance, this.access.accountKey, this.access.issuerAccount);
  }

  async close(): Promise<void> {
    await this.#advisories?.close();
    await this.#connection?.close();
    await this.server?.close();
  }

  /** Rejects when the connection breaks: a reply in flight never arrives. */
  #orOutage<Result>(work: Promise<Result>): Promise<Result> {
    return outcome((resolve, reject) => {
      this.#onOutage.add(reject);
      work.then(resolve, reject);
      return () => this.#onOutage.delete(reject);
    });
  }

  async #connect(creds: string): Promise<NatsConnection> {
    const { url } = this.access;
    return await connect({
      servers: url,
      authenticator: credsAuthenticator(Buffer.from(creds)),
      name: 'nexus-controller',
      maxReconnectAttempts: -1,
      reconnectTimeWait: 100,
      reconnectJitter: 50,
      pingInterval: 10_000,
      timeout: this.connectTimeoutMs,
    }).catch((error: unknown) => {
      const advice = 'is it there, and is the machine so busy that nats-connect-timeout-ms is too little?';
      const message = `cannot connect to nats-server at ${url}: ${(error as Error).message}; ${advice}`;
      throw new NexusError('unavailable', message, {}, { cause: error });
    });
  }

  #watchStatus(connection: NatsConnection, listener: BusListener): void {
    void (async () => {
      for await (const status of connection.status()) {
        if (status.type === 'disconnect') {
          this.log.warn('the connection to the bus is lost; reconnecting');
          this.#isUp = false;
          for (const tell of this.#onOutage) tell(new Error('the connection was lost before the answer'));
          listener.available(false);
        } else if (status.type === 'reconnect') {
          this.log.info('the bus is back');
          this.#isUp = true;
          listener.available(true);
        }
      }
    })();
  }

  async #watchDisconnects(creds: string, listener: BusListener): Promise<void> {
    this.#advisories = await this.#connect(creds);
    this.#advisories.subscribe('$SYS.ACCOUNT.*.DISCONNECT', {
      callback: (error, message) => {
        if (error !== null) return;
        const node = nodeOfAdvisory(message);
        if (node !== undefined) listener.disconnected(node);
      },
    });
    await this.#advisories.flush();
  }

  #deliver(message: Msg, listener: BusListener): void {
    const { node, kind } = parseAgentSubject(message.subject);
    // Checked before decoding: excess messages of one agent must not delay the others.
    if (this.#isFlood(node)) {
      listener.garbled(node, `it sends more than ${MESSAGES_PER_PERIOD / PERIOD_SECONDS} messages a second`);
      return;
    }
    try {
      if (kind === 'heartbeat') listener.heartbeat(node, AgentHeartbeat.decode(message.data));
      else if (kind === 'report') listener.report(node, AgentReport.decode(message.data));
    } catch (error) {
      listener.garbled(node, `a ${plainText(kind, 32)} could not be read: ${(error as Error).message}`);
    }
  }

  #isFlood(node: NodeId): boolean {
    const now = systemClock.monotonic();
    const seen = this.#received.get(node);
    if (seen === undefined || now - seen.since > PERIOD_SECONDS * 1000) {
      this.#received.set(node, { since: now, messages: 1 });
      return false;
    }
    seen.messages += 1;
    return seen.messages > MESSAGES_PER_PERIOD;
  }
}

/** Code: unavailable (an invalid reply counts as none). */
function decodedReply(node: NodeId, data: Uint8Array): AgentReply {
  try {
    const reply = AgentReply.decode(data);
    return { ...reply, corruptNodeIds: reply.corruptNodeIds.filter(isNodeId).slice(0, MAX_REPLICAS) };
  } catch (error) {
    const options = { cause: error };
    throw new NexusError('unavailable', `the agent of ${node} sent an answer that cannot be read`, {}, options);
  }
}

/** The server vouches for the token in its advisory; the client chooses the connection's name itself. */
function nodeOfAdvisory(message: Msg): NodeId | undefined {
  const { client } = message.json<{ client?: { jwt?: string } }>();
  if (client?.jwt === undefined) return undefined;
  const { name } = decode(client.jwt);
  return isNodeId(name) ? name : undefined;
}

function requestFailure(error: unknown, node: NodeId, timeoutMs: number): NexusError {
  const options = { cause: error };
  if (error instanceof TimeoutError) {
    return new NexusError(
      'deadline_exceeded',
      `the agent of ${node} did not answer within ${timeoutMs} ms`,
      { silentAgent: node },
      options,
    );
  }
  if (error instanceof NoRespondersError || error instanceof RequestError) {
    return new NexusError(
      'unavailable',
      `the agent of ${node} is not connected to the bus`,
      { silentAgent: node },
      options,
    );
  }
  return new NexusError('unavailable', `the bus is not available: ${(error as Error).message}`, {}, options);
}

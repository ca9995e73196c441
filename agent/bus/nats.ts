/** The bus over NATS. */
import { readFile } from 'node:fs/promises';
import { connect, credsAuthenticator, type NatsConnection } from '@nats-io/transport-node';
import { endsWithin } from '../../shared/async/wait.js';
import { systemClock } from '../../shared/async/clock.js';
import type { AgentLog } from '../log.js';
import type { AgentBus, BusEvents } from './port.js';

export interface NatsBusOptions {
  readonly url: string;
  readonly credsFile: string;
  /** Shown in the server's connection list. */
  readonly clientName: string;
  readonly log: AgentLog;
  /** Between heartbeats at present: attempts to reconnect are as rare, in the end. */
  readonly beatMs: () => number;
}

const DIAL_TIMEOUT_MS = 5000;
/**
 * A server that vanished without closing the connection is noticed after two of these; the controller's own server
 * can't. Each wakes the agent.
 */
const PING_INTERVAL_MS = 15_000;
const CLOSE_TIMEOUT_MS = 2000;

/** Resolves with the first connection, however long that takes. Rejects when the credentials can't be read. */
export async function connectNatsBus(options: NatsBusOptions, events: BusEvents): Promise<AgentBus> {
  const patience = new Patience(options.beatMs);
  const connection = await connect({
    servers: options.url,
    name: options.clientName,
    authenticator: credsAuthenticator(await readFile(options.credsFile)),
    waitOnFirstConnect: true,
    maxReconnectAttempts: -1,
    reconnectDelayHandler: () => patience.delayMs(),
    timeout: DIAL_TIMEOUT_MS,
    pingInterval: PING_INTERVAL_MS,
    // A server that has just started may not know this account yet.
    ignoreAuthErrorAbort: true,
    // An external cluster's other addresses may not be reachable from the node's network.
    ignoreClusterUpdates: true,
  });
  return new NatsBus(connection, patience, options.log, events);
}

class NatsBus implements AgentBus {
  #connected = true;

  constructor(
    private readonly connection: NatsConnection,
    private readonly patience: Patience,
    private readonly log: AgentLog,
    private readonly events: BusEvents,
  ) {
    void this.#follow();
  }

  get connected(): boolean {
    return this.#connected;
  }

  publish(subject: string, payload: Uint8Array): boolean {
    if (!this.#connected || this.connection.isDraining() || this.connection.isClosed()) return false;
    this.connection.publish(subject, payload);
    return true;
  }

  serve(subject: string, answer: (request: Uint8Array) => Promise<Uint8Array>): void {
    this.connection.subscribe(subject, {
      callback: (error, message) => {
        if (error !== null) {
          this.log.error({ subject, err: error }, 'the subscription failed');
          return;
        }
        void answer(message.data).then((reply) => {
          if (!this.connection.isClosed()) message.respond(reply);
        });
      },
    });
  }

  async close(): Promise<void> {
    if (this.connection.isClosed()) return;
    await endsWithin(CLOSE_TIMEOUT_MS, this.connection.drain());
    await this.connection.close();
  }

  async #follow(): Promise<void> {
    this.patience.connected();
    this.events.onConnected();
    for await (const status of this.connection.status()) {
      if (status.type === 'disconnect') {
        this.#connected = false;
        this.log.warn({}, 'the connection to NATS is gone; reconnecting');
      } else if (status.type === 'reconnect') {
        this.#connected = true;
        this.patience.connected();
        this.log.info({}, 'connected to NATS again');
        this.events.onConnected();
      } else if (status.type === 'error') {
        this.log.error({ err: status.error }, 'NATS error');
      }
    }
    this.#connected = false;
  }
}

/**
 * Time between attempts to reconnect: half of the time that the server has been away, and from a quarter to one and a half of
 * a heartbeat's interval. A thousand agents whose server is gone would otherwise have the machine for themselves.
 */
export class Patience {
  #since: number | undefined;

  constructor(private readonly beatMs: () => number) {}

  connected(): void {
    this.#since = undefined;
  }

  delayMs(now = systemClock.monotonic()): number {
    this.#since ??= now;
    const beat = this.beatMs();
    const delay = Math.min(beat, Math.max(beat / 4, (now - this.#since) / 2));
    // Spreads agents that lost the server at one moment.
    return delay * (1 + Math.random() / 2);
  }
}

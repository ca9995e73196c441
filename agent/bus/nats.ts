/** NATS with the node's own credentials; reconnects by itself for as long as it takes. */
import { readFileSync } from 'node:fs';
import { connect, credsAuthenticator, type Msg, type NatsConnection } from '@nats-io/transport-node';
import { subjectsOf } from '../../shared/bus/subjects.js';
import type { AgentConfig } from '../../shared/config/agent-config.js';
import { AgentCommand, AgentHeartbeat, AgentReply, AgentReport } from '../../shared/gen/nexus/v1/agent.js';
import type { NodeId } from '../../shared/ids.js';
import type { AgentLog } from '../log.js';
import type { ControllerLink } from './port.js';

/** Spread, so that a hundred agents do not all come back in the same instant. */
const RECONNECT_WAIT_MS = 150;
const RECONNECT_JITTER_MS = 200;

export class NatsLink implements ControllerLink {
  #isConnected = true;
  readonly #subjects;
  readonly #node: NodeId;

  private constructor(
    config: AgentConfig,
    private readonly connection: NatsConnection,
    private readonly log: AgentLog,
  ) {
    this.#subjects = subjectsOf(config.instance);
    this.#node = config.nodeId as NodeId;
    void this.#watch();
  }

  static async connect(config: AgentConfig, log: AgentLog): Promise<NatsLink> {
    const connection = await connect({
      servers: config.natsUrl,
      authenticator: credsAuthenticator(readFileSync(config.credsFile)),
      name: `nexus-agent ${config.nodeName}`,
      maxReconnectAttempts: -1,
      waitOnFirstConnect: true,
      reconnectTimeWait: RECONNECT_WAIT_MS,
      reconnectJitter: RECONNECT_JITTER_MS,
      pingInterval: 10_000,
    });
    return new NatsLink(config, connection, log);
  }

  heartbeat(message: AgentHeartbeat): void {
    this.#publish(this.#subjects.heartbeat(this.#node), AgentHeartbeat.encode(message).finish());
  }

  report(message: AgentReport): void {
    this.#publish(this.#subjects.report(this.#node), AgentReport.encode(message).finish());
  }

  onCommand(answer: (command: AgentCommand) => Promise<AgentReply>): void {
    const subscription = this.connection.subscribe(this.#subjects.command(this.#node));
    void (async () => {
      for await (const message of subscription) await this.#answer(message, answer);
    })();
  }

  async close(): Promise<void> {
    if (this.#isConnected) await this.connection.drain();
    else await this.connection.close();
  }

  /** While disconnected the client would buffer without a bound. */
  #publish(subject: string, payload: Uint8Array): void {
    if (this.#isConnected && !this.connection.isClosed()) this.connection.publish(subject, payload);
  }

  async #answer(message: Msg, answer: (command: AgentCommand) => Promise<AgentReply>): Promise<void> {
    try {
      const reply = await answer(AgentCommand.decode(message.data));
      message.respond(AgentReply.encode(reply).finish());
    } catch (error) {
      this.log.error({ err: error }, 'a command could not be answered');
    }
  }

  async #watch(): Promise<void> {
    for await (const status of this.connection.status()) {
      if (status.type === 'disconnect') this.#isConnected = false;
      if (status.type === 'reconnect') this.#isConnected = true;
      if (status.type === 'disconnect' || status.type === 'reconnect') this.log.info({ status: status.type }, 'bus connection');
    }
  }
}

/**
 * The controller's way to its agents: what they publish, commands that they answer, and word of a closed connection.
 * While the bus is down `request` fails with `unavailable`; listeners stay and hear again by themselves afterwards.
 */
import type { NodeId } from '../../shared/ids.js';
import type { AgentCommand, AgentHeartbeat, AgentReply, AgentReport } from '../../shared/gen/nexus/v1/agent.js';

export interface BusListener {
  heartbeat(node: NodeId, heartbeat: AgentHeartbeat): void;
  report(node: NodeId, report: AgentReport): void;
  /** What the agent sent is no message at all. */
  garbled(node: NodeId, what: string): void;
  /** The agent's connection closed, for whatever reason. */
  disconnected(node: NodeId): void;
  /** The controller itself lost (false) or regained (true) the bus: silence means nothing in between. */
  available(isAvailable: boolean): void;
}

export interface AgentBus {
  /** Once, before any agent is started. */
  start(listener: BusListener): Promise<void>;
  /**
   * Codes: unavailable (the bus is down, or no agent answers), deadline_exceeded, or what the agent replied. Where it is
   * the agent that does not answer, `silentAgent` of the details names it.
   */
  request(node: NodeId, command: AgentCommand, timeoutMs: number): Promise<AgentReply>;
  /**
   * Whether a message makes its way through the server and back within `timeoutMs`: a server that hangs keeps its
   * connections. Never rejects. After a pulse without an answer `request` fails at once, until one is answered.
   */
  pulse(timeoutMs: number): Promise<boolean>;
  /** Ends our own server, whatever it does, and starts another; resolves before that one serves. False: it is not ours. */
  replaceServer(): Promise<boolean>;
  /** Credentials file text for one agent: they allow its own subjects and nothing else. */
  issueCredentials(node: NodeId): Promise<string>;
  /** Where agents connect to. */
  readonly url: string;
  /** Process id of our own server, 0 when it is external. */
  readonly serverPid: number;
  stop(): Promise<void>;
}

/**
 * The controller's connection to its agents: their messages, commands that they answer, and notice of closed
 * connections. While the bus is down `request` fails with `unavailable`; listeners resume by themselves afterwards.
 */
import type { NodeId } from '../../shared/ids.js';
import type { AgentCommand, AgentHeartbeat, AgentReply, AgentReport } from '../../shared/gen/nexus/v1/agent.js';

export interface BusListener {
  heartbeat(node: NodeId, heartbeat: AgentHeartbeat): void;
  report(node: NodeId, report: AgentReport): void;
  /** A message was dropped: it can't be decoded, or the agent sends too many. `what` is the reason. */
  garbled(node: NodeId, what: string): void;
  /** The agent's connection closed, for any reason. */
  disconnected(node: NodeId): void;
  /** The controller itself lost (false) or regained (true) the bus; agents' silence in between means nothing. */
  available(isAvailable: boolean): void;
}

export interface AgentBus {
  /** Called once, before any agent is started. */
  start(listener: BusListener): Promise<void>;
  /**
   * Codes: unavailable (the bus is down, or no agent answers), deadline_exceeded, or the agent's own. If the agent did
   * not answer, `silentAgent` in the details has its node.
   */
  request(node: NodeId, command: AgentCommand, timeoutMs: number): Promise<AgentReply>;
  /**
   * Whether a message returns through the server within `timeoutMs`: a hanging server keeps its connections open. Never
   * rejects. After an unanswered pulse `request` fails at once, until a pulse is answered.
   */
  pulse(timeoutMs: number): Promise<boolean>;
  /** Kills our own server and starts another; resolves before the new one is ready. False: the server is external. */
  replaceServer(): Promise<boolean>;
  /** Returns the text of a credentials file for one agent: it allows the agent's own subjects only. */
  issueCredentials(node: NodeId): Promise<string>;
  /** URL that agents connect to. */
  readonly url: string;
  /** Process id of our own server, 0 when it is external. */
  readonly serverPid: number;
  close(): Promise<void>;
}

/** The agent's side of the bus. Nothing is kept for later while it is away: the next heartbeat is as good. */
import type { AgentCommand, AgentHeartbeat, AgentReply, AgentReport } from '../../shared/gen/nexus/v1/agent.js';

export interface ControllerLink {
  heartbeat(message: AgentHeartbeat): void;
  report(message: AgentReport): void;
  /** Once. Commands are handed over one at a time. */
  onCommand(answer: (command: AgentCommand) => Promise<AgentReply>): void;
  /** Sends what is on its way and disconnects. */
  close(): Promise<void>;
}

/**
 * NATS subjects. `<instance>` keeps two clusters on one external server apart; a node's credentials cover its own
 * `agent` and `command` subjects and nothing else.
 */
import type { NodeId } from '../ids.js';

export interface Subjects {
  heartbeat(node: NodeId): string;
  report(node: NodeId): string;
  command(node: NodeId): string;
  /** Everything that agents publish; the node id is the fourth token. */
  readonly allAgents: string;
  /** The controller asks and answers itself here, to see that the server passes messages on. */
  readonly pulse: string;
}

export function subjectsOf(instance: string): Subjects {
  const prefix = `nexus.${instance}`;
  return {
    heartbeat: (node) => `${prefix}.agent.${node}.heartbeat`,
    report: (node) => `${prefix}.agent.${node}.report`,
    command: (node) => `${prefix}.command.${node}`,
    allAgents: `${prefix}.agent.*.*`,
    pulse: `${prefix}.pulse`,
  };
}

/** Node id and kind of message from a subject of `allAgents`. */
export function parseAgentSubject(subject: string): { node: NodeId; kind: string } {
  const [, , , node = '', kind = ''] = subject.split('.');
  return { node: node as NodeId, kind };
}

/**
 * The field `ending` of an agent's closing line in its node's log: the controller tells by it why a node ended. A log
 * without one after the node's start is that of an agent which was killed.
 */
export type AgentEnding =
  /** A signal or a command asked for it, and it was done in order. */
  | 'asked'
  /** The line's message says what it could not get over. */
  | 'failed';

/** The field `starting` stands in the controller's own line with which each run of a node begins. */
export const STARTING_FIELD = 'starting';

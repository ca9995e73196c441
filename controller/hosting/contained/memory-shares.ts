/**
 * How a node's memory is shared: pure. What outlives the process that made it (files in /tmp and /dev/shm, segments of
 * System V, pages of a file without a name) is charged to the node's commands for as long as it is there, so a limit on
 * all of them together leaves the agent what it needs; and what can be named is bounded further, so that commands which
 * look and remove still find room.
 */
import { MIB } from '../../../shared/limits.js';

export interface MemoryShares {
  /** Limit of all commands of a node together, with what they leave behind. */
  readonly commandsBytes: number;
  /** Size of /tmp. */
  readonly tmpBytes: number;
  /** Size of /dev/shm. */
  readonly sharedBytes: number;
  /** All segments of System V together. */
  readonly segmentsBytes: number;
}

/** An agent at rest takes about half of it; 32 transfers at once take the other. */
const MOST_FOR_AGENT_BYTES = 48 * MIB;
const AGENT_SHARE = 3 / 8;

export function memoryShares(memoryBytes: number): MemoryShares {
  const agentBytes = Math.min(MOST_FOR_AGENT_BYTES, Math.floor(memoryBytes * AGENT_SHARE));
  const commandsBytes = memoryBytes - agentBytes;
  const part = (divisor: number): number => Math.floor(commandsBytes / divisor / PAGE_BYTES) * PAGE_BYTES;
  return { commandsBytes, tmpBytes: part(4), sharedBytes: part(8), segmentsBytes: part(8) };
}

export const PAGE_BYTES = 4096;

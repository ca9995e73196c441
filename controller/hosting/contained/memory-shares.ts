/**
 * Divides a node's memory. Pure. Memory that outlives the process that made it (files in /tmp and /dev/shm, System V
 * segments, pages of an unnamed file) is charged to the node's commands while it exists, so a limit on all of them
 * together leaves the agent its share. Memory with a name is limited further, so that commands which inspect and remove
 * it still have room.
 */
import { MIB } from '../../../shared/limits.js';

export interface MemoryShares {
  /** Limit of all commands of a node together, including what they leave behind. */
  readonly commandsBytes: number;
  /** Size of /tmp. */
  readonly tmpBytes: number;
  /** Size of /dev/shm. */
  readonly sharedBytes: number;
  /** Total size of all System V segments. */
  readonly segmentsBytes: number;
  /** Limit of what sockets of the node hold, where that is not part of its memory (cgroup v1). */
  readonly socketsBytes: number;
  /** The same for all of its commands together. */
  readonly commandSocketsBytes: number;
}

/** An idle agent uses about half of it; 32 concurrent transfers use the other half. */
const MOST_FOR_AGENT_BYTES = 48 * MIB;
const AGENT_SHARE = 3 / 8;
/** An agent's transfers need it. */
const LEAST_SOCKETS_BYTES = 16 * MIB;

export function memoryShares(memoryBytes: number): MemoryShares {
  const agentBytes = Math.min(MOST_FOR_AGENT_BYTES, Math.floor(memoryBytes * AGENT_SHARE));
  const commandsBytes = memoryBytes - agentBytes;
  const part = (divisor: number): number => Math.floor(commandsBytes / divisor / PAGE_BYTES) * PAGE_BYTES;
  const socketsBytes = Math.max(LEAST_SOCKETS_BYTES, Math.floor(memoryBytes / 4));
  return {
    ...{ commandsBytes, tmpBytes: part(4), sharedBytes: part(8), segmentsBytes: part(8) },
    ...{ socketsBytes, commandSocketsBytes: socketsBytes / 2 },
  };
}

export const PAGE_BYTES = 4096;

/** Which copies should move so that nodes are equally full: pure. Equal means that no further chunk
 * could move without making its receiver the fuller one. */
import type { NodeId } from '../../shared/ids.js';
import { CHUNK_SIZE_BYTES } from '../../shared/limits.js';

export interface Load {
  readonly id: NodeId;
  readonly name: string;
  /** Bytes that are used or promised. */
  readonly usedBytes: number;
  readonly capacityBytes: number;
}

export interface Shift {
  readonly from: Load;
  readonly to: Load;
}

/**
 * From the fullest to the emptiest by share of their capacity, where moving a chunk makes them more alike; undefined
 * when nothing is gained any more.
 */
export function nextShift(loads: readonly Load[], isPossible: (shift: Shift) => boolean): Shift | undefined {
  const ordered = loads.filter((load) => load.capacityBytes > 0).sort((one, other) => share(other) - share(one));
  for (const from of ordered) {
    for (const to of [...ordered].reverse()) {
      const shift = { from, to };
      // Not in order of gain: a chunk fills a small volume more than a large one.
      if (from.id !== to.id && isGain(shift) && isPossible(shift)) return shift;
    }
  }
  return undefined;
}

const share = (load: Load, change = 0): number => (load.usedBytes + change) / load.capacityBytes;

/** Afterwards the receiver is not fuller than the giver: otherwise the chunk would only wander. */
const isGain = ({ from, to }: Shift): boolean => share(to, CHUNK_SIZE_BYTES) <= share(from, -CHUNK_SIZE_BYTES);

/** The largest difference of fullness between two nodes, 0 to 1. */
export function imbalance(loads: readonly Load[]): number {
  const shares = loads.filter((load) => load.capacityBytes > 0).map((load) => share(load));
  return shares.length === 0 ? 0 : Math.max(...shares) - Math.min(...shares);
}

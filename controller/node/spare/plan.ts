/** Plans which spares are kept: pure. A spare is a started node that nobody has asked for yet. */
import { notice, type Message, type Notice } from '../../../shared/advice/advice.js';
import type { NodeId } from '../../../shared/ids.js';
import { DEFAULT_MEMORY_MB, DEFAULT_PIDS_LIMIT, DEFAULT_STORAGE_BYTES } from '../../../shared/limits.js';
import { BASE_IMAGE } from '../../image/port.js';
import type { NodeRecord } from '../../store/port/store.js';

/**
 * What can't be changed in a node that runs: the size of its volume, and what its memory gives to the file systems of
 * /tmp and /dev/shm.
 */
export type SpareShape = Pick<NodeRecord, 'image' | 'memoryMb' | 'pidsLimit' | 'storageBytes'>;

/** That of a creation that names nothing but the node. */
export const DEFAULT_SHAPE: SpareShape = {
  image: BASE_IMAGE,
  memoryMb: DEFAULT_MEMORY_MB,
  pidsLimit: DEFAULT_PIDS_LIMIT,
  storageBytes: DEFAULT_STORAGE_BYTES,
};

export const isSameShape = (one: SpareShape, other: SpareShape): boolean =>
  one.image === other.image &&
  one.memoryMb === other.memoryMb &&
  one.pidsLimit === other.pidsLimit &&
  one.storageBytes === other.storageBytes;

/**
 * The shape of further spares after a creation that found none of its own: mostly the next one asks for the same. Other
 * images have no spares.
 */
export const shapeAfter = (before: SpareShape, asked: SpareShape): SpareShape =>
  asked.image === BASE_IMAGE ? asked : before;

export interface SpareFacts {
  readonly wanted: number;
  readonly shape: SpareShape;
  readonly spares: readonly { readonly id: NodeId; readonly shape: SpareShape; readonly isAlive: boolean }[];
  /** Slots that neither a node nor a spare has. */
  readonly freeSlots: number;
}

export interface SparePlan {
  readonly drop: readonly NodeId[];
  readonly makesOne: boolean;
  /** There are too few, and none is made, because every slot but the last one is taken. */
  readonly lacksSlots: boolean;
}

export function planSpares({ wanted, shape, spares, freeSlots }: SpareFacts): SparePlan {
  const fit = spares.filter((spare) => spare.isAlive && isSameShape(spare.shape, shape));
  const kept = new Set(fit.slice(0, wanted));
  const drop = spares.filter((spare) => !kept.has(spare));
  const isShort = kept.size < wanted;
  // The last slot is for a creation that no spare fits.
  const lacksSlots = isShort && freeSlots + drop.length <= 1;
  return { drop: drop.map(({ id }) => id), makesOne: isShort && !lacksSlots, lacksSlots };
}

export const NO_SLOT: Notice = notice('no address is free for more, but the one that is kept for other creations', {
  key: 'free-address',
});
export const FULL_DISK: Notice = notice('none are made while a disk of this machine is full');

/** The warning about spares that are missing for a reason other than the time that they take. */
export function shortOfSpares(ready: number, wanted: number, why: Message): Notice {
  const { message, advice } = typeof why === 'string' ? notice(why) : why;
  // A spare is no node that a command could name.
  const possible = advice.filter((one) => !('node' in one));
  return notice(`${ready} of ${wanted} spares are ready (spare-nodes): ${message}`, ...possible);
}

/**
 * What a node's volume can do, as its agent finds by trying: the words that agents report and everybody else acts on. A
 * process that lives says nothing about the file system under it.
 */
export const VOLUME_STATES = ['ok', 'full', 'read-only', 'failing', 'hung'] as const;

/**
 * full: bytes or inodes have run out; read-only: what it holds can be read, nothing can be written or deleted; failing:
 * it can't be read either; hung: it has not answered for many seconds.
 */
export type VolumeState = (typeof VOLUME_STATES)[number];

export interface VolumeCondition {
  readonly state: VolumeState;
  /** For people: what the agent saw; empty when all is well. */
  readonly reason: string;
}

export const VOLUME_OK: VolumeCondition = { state: 'ok', reason: '' };

/** Whether chunks can be deleted on it, which needs no room. */
export const isWritable = (state: VolumeState): boolean => state === 'ok' || state === 'full';

/** Whether what it holds can be expected to be read. */
export const isReadable = (state: VolumeState): boolean => state !== 'failing' && state !== 'hung';

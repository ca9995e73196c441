/**
 * States of a node's volume, which its agent finds by trial. Agents report them, and everything else acts on them. A
 * running process proves nothing about the file system under it.
 */
export const VOLUME_STATES = ['ok', 'full', 'read-only', 'failing', 'hung'] as const;

/**
 * full: no bytes or inodes are left; read-only: its content can be read, but nothing written or deleted; failing: its
 * content can't be read either; hung: it has not answered for many seconds.
 */
export type VolumeState = (typeof VOLUME_STATES)[number];

export interface VolumeCondition {
  readonly state: VolumeState;
  /** For people: what the agent observed; empty when all is well. */
  readonly reason: string;
}

export const VOLUME_OK: VolumeCondition = { state: 'ok', reason: '' };

/** Whether chunks can be deleted on it; deleting needs no room. */
export const isWritable = (state: VolumeState): boolean => state === 'ok' || state === 'full';

/** Whether its content is expected to be readable. */
export const isReadable = (state: VolumeState): boolean => state !== 'failing' && state !== 'hung';

/** Turns the kernel's errno for a volume that fails into an error with a code and advice. */
import { errnoOf as nameOf, firstOf, NexusError, toNexusError, type ErrorCode } from '../../shared/errors.js';

const DAMAGED = 'the file system of the volume is damaged; restart the node, which checks and repairs it';

const MEANING: Readonly<Record<string, readonly [ErrorCode, string]>> = {
  EROFS: ['unavailable', 'the volume is read-only; restart the node, which checks the volume and mounts it again'],
  EIO: [
    'unavailable',
    'the volume cannot be read or written; restart the node, which checks the volume and mounts it again',
  ],
  EUCLEAN: ['unavailable', DAMAGED],
  EBADMSG: ['unavailable', DAMAGED],
  ENOSPC: ['resource_exhausted', 'the volume is full; remove files or add nodes'],
  EDQUOT: ['resource_exhausted', 'the volume is full; remove files or add nodes'],
  EMFILE: ['unavailable', 'the node has too many files open; try again'],
  ENFILE: ['unavailable', 'the machine has too many files open; try again'],
};

/** The errno of a failed call of the file system, also where it is the cause of what was thrown. */
export function errnoOf(thrown: unknown): string | undefined {
  for (let error = firstOf(thrown); error instanceof Error; error = error.cause) {
    const name = nameOf(error);
    if (name !== undefined && Object.hasOwn(MEANING, name)) return name;
  }
  return undefined;
}

/** Whether it says that the volume as a whole fails: the next chunk would meet the same. */
export const isOfVolume = (thrown: unknown): boolean => {
  const errno = errnoOf(thrown);
  return errno === 'EROFS' || errno === 'EIO' || isDamage(thrown);
};

/**
 * Whether the kernel found the file system's own records wrong (EBADMSG: a checksum of them). It marks the file system,
 * which the next start's e2fsck sees; until then nothing that is written there can be trusted.
 */
export const isDamage = (thrown: unknown): boolean => {
  const errno = errnoOf(thrown);
  return errno === 'EUCLEAN' || errno === 'EBADMSG';
};

/** As `toNexusError`; what the kernel says about the volume keeps its errno and gets a code that senders act on. */
export function toAgentError(thrown: unknown): NexusError {
  const errno = errnoOf(thrown);
  const [code, message] = (errno === undefined ? undefined : MEANING[errno]) ?? [];
  if (errno === undefined || code === undefined || message === undefined) return toNexusError(thrown);
  return new NexusError(code, `${message} (${errno})`, { errno }, { cause: thrown });
}

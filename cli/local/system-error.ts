/** Explains errors of the operating system: Node's own messages name system calls and do not help a person. */
import { errnoOf, NexusError, toNexusError } from '../../shared/errors.js';

const WORDS: Readonly<Record<string, string>> = {
  ENOENT: 'there is no such file or folder',
  EACCES: 'permission denied',
  EPERM: 'permission denied',
  EISDIR: 'it is a folder',
  ENOTDIR: 'a part of the path is not a folder',
  ENOSPC: 'no space is left on the device',
  EDQUOT: 'the disk quota is used up',
  EUCLEAN: 'the file system is damaged',
  EBADMSG: 'the file system is damaged',
  EROFS: 'the file system is read-only',
  EIO: 'the device reports an error',
  EFBIG: 'the file would be too large',
};

/**
 * `what` is the action with its object, e.g. `cannot read a.tar`. The code follows from the errno; the cause is kept.
 */
export function systemError(thrown: unknown, what: string, advice: string): NexusError {
  const errno = errnoOf(thrown) ?? '';
  const { code, message } = toNexusError(thrown);
  return new NexusError(code, `${what}: ${WORDS[errno] ?? message}; ${advice}`, {}, { cause: thrown });
}

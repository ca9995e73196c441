/**
 * A file of the caller's that a command reads. Nothing here may block: a thread that waits in the kernel, for a named pipe's
 * writer or a terminal's line, can't be interrupted, and the process can't end before it.
 */
import { constants, openSync } from 'node:fs';
import { open, stat, type FileHandle } from 'node:fs/promises';
import { Socket } from 'node:net';
import type { Readable } from 'node:stream';
import { errnoOf, NexusError } from '../../shared/errors.js';
import { systemError } from './system-error.js';

const { O_RDONLY, O_NONBLOCK, O_NOCTTY } = constants;
/** The null device, which is read as an empty file. */
const DEV_NULL = 0x103;

/** The one who asked for it closes, or destroys, what it is. */
export type LocalFile =
  | { readonly kind: 'file'; readonly file: FileHandle; readonly size: number }
  /** A pipe. Destroying it ends every wait for it. */
  | { readonly kind: 'pipe'; readonly stream: Readable };

/** Codes: not_found, permission_denied, invalid_argument (a folder; `advice` says what to do with one; a device, a socket). */
export async function openForReading(path: string, advice: string): Promise<LocalFile> {
  const unopened = (thrown: unknown): Error =>
    notUtf8(thrown, path) ??
    systemError(thrown, `cannot read ${path === '' ? '""' : path}`, 'give the path of a file that you can read');
  const found = await stat(path).catch((thrown: unknown) => {
    throw unopened(thrown);
  });
  if (found.isDirectory()) throw new NexusError('invalid_argument', `${path} is a folder; ${advice}`);
  if (found.isFIFO()) {
    try {
      // A writer may come later, and `cat` would wait for it, too.
      return { kind: 'pipe', stream: new Socket({ fd: openSync(path, O_RDONLY | O_NONBLOCK), writable: false }) };
    } catch (thrown) {
      throw unopened(thrown);
    }
  }
  if (!found.isFile() && found.rdev !== DEV_NULL) throw notAFile(path, found.isSocket());
  const file = await open(path, O_RDONLY | O_NONBLOCK | O_NOCTTY).catch((thrown: unknown) => {
    throw unopened(thrown);
  });
  const { size } = await file.stat();
  return { kind: 'file', file, size };
}

/** The system's refusal to read on, which tells of no file; what is none of the system's stays as it is. */
export const unreadable = (what: string, thrown: unknown): unknown =>
  thrown instanceof Error && 'errno' in thrown
    ? systemError(thrown, `cannot read ${what}`, 'give a file that can be read to its end')
    : thrown;

const notAFile = (path: string, isSocket: boolean): NexusError =>
  new NexusError(
    'invalid_argument',
    isSocket
      ? `${path} is a socket, which can't be read as a file; give a file or a pipe`
      : `${path} is neither file nor pipe; send its content to standard input: cat ${path} | nexus ... -`,
  );

/** Node has put U+FFFD where the bytes of an argument were not UTF-8, and no file is called like that. */
const notUtf8 = (thrown: unknown, path: string): NexusError | undefined =>
  errnoOf(thrown) !== 'ENOENT' || !path.includes('\ufffd')
    ? undefined
    : new NexusError(
        'not_found',
        `cannot read ${path}: its name is not UTF-8; send it to standard input: nexus ... - <FILE (file upload: - --name NAME)`,
        {},
        { cause: thrown },
      );

/**
 * Opens the agent's files on a volume. Root of the node may have put anything in their place: opening a named pipe waits
 * for its other end, on one of the few threads that all files share, and a link leads elsewhere. So an open never waits
 * and follows no link, and what is no regular file counts as damaged.
 */
import { constants, type Stats } from 'node:fs';
import { lstat, open, rename, rm, type FileHandle } from 'node:fs/promises';
import { NexusError } from '../../shared/errors.js';
import { MIB } from '../../shared/limits.js';

/** Several times what the largest of the agent's own files needs, the tombstones. */
const MAX_TEXT_BYTES = 4 * MIB;

export interface RegularFile {
  /** The caller closes it. */
  readonly file: FileHandle;
  /** Bytes when it was opened. */
  readonly size: number;
}

/** `flags`: of open(2). Codes: data_loss (it is no regular file); otherwise the system's error. */
export async function openRegular(path: string, flags: number, mode?: number): Promise<RegularFile> {
  const file = await open(path, flags | constants.O_NONBLOCK | constants.O_NOFOLLOW, mode).catch(
    async (error: unknown) => {
      // A link, a folder, a socket or a device refuses with an error of its own.
      const found = await lstat(path).catch(() => undefined);
      throw found === undefined || found.isFile() ? error : irregular(path, found, error);
    },
  );
  try {
    const found = await file.stat();
    if (!found.isFile()) throw irregular(path, found);
    return { file, size: found.size };
  } catch (error) {
    await file.close().catch(() => undefined);
    throw error;
  }
}

/** Opens for reading and writing. A file that is missing is created, anything but a regular file removed before. */
export async function openOwn(path: string): Promise<RegularFile> {
  const opened = (): Promise<RegularFile> => openRegular(path, constants.O_RDWR | constants.O_CREAT, 0o600);
  return await opened().catch(async (error: unknown) => {
    if (!(error instanceof NexusError)) throw error;
    await rm(path, { recursive: true, force: true });
    return await opened();
  });
}

/** A whole small file. Codes: as `openRegular`, and data_loss when it is larger than any of the agent's. */
export async function readRegular(path: string, encoding: BufferEncoding): Promise<string> {
  const { file, size } = await openRegular(path, constants.O_RDONLY);
  try {
    if (size > MAX_TEXT_BYTES) throw new NexusError('data_loss', `${path} has ${size} bytes, which is too large`);
    const { buffer, bytesRead } = await file.read(Buffer.allocUnsafe(size), 0, size, 0);
    return buffer.toString(encoding, 0, bytesRead);
  } finally {
    await file.close().catch(() => undefined);
  }
}

/** Renames a file, also to a name that a folder has, which the system refuses. */
export async function moveOver(from: string, to: string): Promise<void> {
  await rename(from, to).catch(async (error: unknown) => {
    if ((error as NodeJS.ErrnoException).code !== 'EISDIR') throw error;
    await rm(to, { recursive: true, force: true });
    await rename(from, to);
  });
}

const irregular = (path: string, found: Stats, cause?: unknown): NexusError =>
  new NexusError('data_loss', `${path} is ${kindOf(found)}, not a regular file`, {}, { cause });

/** Also of an entry of a folder. */
export function kindOf(entry: Pick<Stats, 'isDirectory' | 'isFIFO' | 'isSocket' | 'isSymbolicLink'>): string {
  if (entry.isFIFO()) return 'a named pipe';
  if (entry.isSymbolicLink()) return 'a link';
  if (entry.isDirectory()) return 'a folder';
  return entry.isSocket() ? 'a socket' : 'a device';
}

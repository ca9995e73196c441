/** A file of the caller's that a command reads. */
import { open, type FileHandle } from 'node:fs/promises';
import { NexusError } from '../shared/errors.js';
import { systemError } from './system-error.js';

export interface LocalFile {
  /** Whoever asked for it closes it. */
  readonly file: FileHandle;
  /** Bytes; 0 for a pipe or a device, which have no size to promise. */
  readonly size: number;
}

/** Codes: not_found, permission_denied, invalid_argument (a folder; `advice` says what to do with one). */
export async function openForReading(path: string, advice: string): Promise<LocalFile> {
  const file = await open(path, 'r').catch((thrown: unknown) => {
    throw systemError(thrown, `cannot read ${path}`, 'give the path of a file that you can read');
  });
  const stats = await file.stat();
  if (stats.isDirectory()) {
    await file.close();
    throw new NexusError('invalid_argument', `${path} is a folder; ${advice}`);
  }
  return { file, size: stats.isFile() ? stats.size : 0 };
}

/** Errors of volumes, with the texts and codes that all kinds of volumes share. */
import { NexusError, toNexusError } from '../../shared/errors.js';
import { formatBytes } from '../../shared/format-bytes.js';
import { MIN_STORAGE_BYTES } from '../../shared/limits.js';
import type { VolumeRoom } from './volumes.js';

/** Maps the system's error on making `path`: already_exists if it exists, otherwise unchanged. */
export function volumeExists(path: string, cause: unknown): NexusError {
  if ((cause as NodeJS.ErrnoException).code !== 'EEXIST') return toNexusError(cause);
  return new NexusError('already_exists', `there is already a volume ${path}`, {}, { cause });
}

export function volumeIsGone(path: string, cause: unknown): NexusError {
  if ((cause as NodeJS.ErrnoException).code !== 'ENOENT') return toNexusError(cause);
  return new NexusError('data_loss', `the volume ${path} is gone`, {}, { cause });
}

export function noRoom(sizeBytes: number, { folder, freeBytes, keptBytes }: VolumeRoom): NexusError {
  const advice = freeBytes < MIN_STORAGE_BYTES ? 'make room on it' : 'choose a smaller --storage';
  const kept = keptBytes === 0 ? '' : ` (${formatBytes(keptBytes)} are kept free for the host itself)`;
  return new NexusError(
    'resource_exhausted',
    `a volume of ${formatBytes(sizeBytes)} does not fit: the disk under ${folder} has ${formatBytes(freeBytes)} left for volumes${kept}; ${advice}`,
  );
}

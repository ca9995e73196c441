/** Images: read-only root file systems in <state>/images/<name>/. */
import type { Readable } from 'node:stream';

export interface ImageRecord {
  readonly name: string;
  readonly sizeBytes: number;
  /** ms since the epoch. */
  readonly createdAt: number;
  /** PRETTY_NAME of its os-release. */
  readonly os: string;
  /** What of the archive the import left out, for people; empty: nothing. Not there in images of earlier versions. */
  readonly leftOut?: string;
  /** Why nothing else is known of it, with what to do. */
  readonly problem?: string;
}

export interface ImageStore {
  list(): Promise<readonly ImageRecord[]>;
  /** Folder to use as a root. Code: not_found. */
  rootfsOf(name: string): Promise<string>;
  /** Unpacks a tar stream. Codes: already_exists, invalid_argument (not a tar, no usable root file system). */
  importTar(name: string, tar: Readable, signal: AbortSignal): Promise<ImageRecord>;
  /** Success when it is not there. */
  remove(name: string): Promise<void>;
  /** Makes the base image from the host's distribution, telling each line of progress. */
  build(name: string, progress: (line: string) => void, signal: AbortSignal): Promise<ImageRecord>;
  /** Imports the prepared base image when there is none yet. */
  ensureBase(): Promise<void>;
}

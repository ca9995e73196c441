/** Images: read-only root file systems in <state>/images/<name>/. */
import type { Readable } from 'node:stream';

/** The image of nodes that name none. */
export const BASE_IMAGE = 'base';

export interface ImageRecord {
  readonly name: string;
  readonly sizeBytes: number;
  /** ms since the epoch. */
  readonly createdAt: number;
  /** PRETTY_NAME of its os-release. */
  readonly os: string;
  /** Describes what the import left out of the archive, for people; empty: nothing; undefined: not recorded then. */
  readonly leftOut?: string;
  /** Why nothing else is known of the image, and what to do. */
  readonly problem?: string;
}

export interface ImageStore {
  list(): Promise<readonly ImageRecord[]>;
  /** Folder to use as a root. Code: not_found. */
  rootfsOf(name: string): Promise<string>;
  /** Unpacks a tar stream. Codes: already_exists, invalid_argument (not a tar, no usable root file system). */
  importTar(name: string, tar: Readable, signal: AbortSignal): Promise<ImageRecord>;
  /** Succeeds if the image does not exist. */
  remove(name: string): Promise<void>;
  /** Makes the base image from the host's distribution, reporting each line of progress. */
  build(name: string, progress: (line: string) => void, signal: AbortSignal): Promise<ImageRecord>;
  /**
   * Imports the prepared base image, whose files instances may share, when there is none yet, and takes over images of an
   * earlier version.
   */
  ensureBase(): Promise<void>;
  /** Removes what instances share and none of them uses, once this one's images are gone. Never fails. */
  sweep(): Promise<void>;
}

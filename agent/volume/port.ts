/**
 * The node's volume as the agent sees it: a folder with a bounded number of bytes. `usage` may be called at any time
 * and concurrently; it takes a few microseconds to milliseconds and fails only when the volume itself does.
 */
export interface VolumeUsage {
  readonly totalBytes: number;
  readonly usedBytes: number;
  /** Bytes that an unprivileged writer can still use. */
  readonly freeBytes: number;
  /** 0: the file system does not count inodes. */
  readonly totalInodes: number;
  readonly freeInodes: number;
}

export interface Volume {
  /** Folder that holds the agent's data. */
  readonly dataDir: string;
  /** Codes: those of the operating system's errors, e.g. not_found. */
  usage(): Promise<VolumeUsage>;
}

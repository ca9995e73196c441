/**
 * The node's volume as the agent sees it: a folder with a bounded number of bytes. `usage` may be called at any time
 * and concurrently; it takes a few microseconds to milliseconds and fails only when the volume itself does.
 */
export interface VolumeUsage {
  readonly totalBytes: number;
  readonly usedBytes: number;
  /** What an unprivileged writer can still use. */
  readonly freeBytes: number;
  /** 0: the file system does not count them. */
  readonly totalInodes: number;
  readonly freeInodes: number;
}

export interface Volume {
  /** Folder that holds the agent's data. */
  readonly dataDir: string;
  /** Codes: whatever the operating system says, e.g. not_found. */
  usage(): Promise<VolumeUsage>;
}

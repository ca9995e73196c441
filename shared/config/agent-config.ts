/** The file that the controller writes for each agent; the agent reads it once at start. JSON, mode 0400. */
export interface AgentConfig {
  readonly nodeId: string;
  readonly nodeName: string;
  readonly instance: string;
  readonly natsUrl: string;
  /** NATS credentials file (JWT and seed), readable by the agent alone. */
  readonly credsFile: string;
  /** Base64 of the raw Ed25519 key that chunk tokens are checked with. */
  readonly tokenPublicKey: string;
  readonly host: string;
  readonly port: number;
  /** Folder where the volume is. */
  readonly dataDir: string;
  /** mounted: a file system of its own bounds it; directory: the agent itself keeps to `sizeBytes`. */
  readonly volume: { readonly kind: 'mounted' } | { readonly kind: 'directory'; readonly sizeBytes: number };
  /**
   * Unix socket for inspection without the network: a path to listen at, or the number of a descriptor that listens
   * already, at a path of the host that nobody in the node can change.
   */
  readonly statusSocket: { readonly path: string } | { readonly fd: number };
  /** none: the process runtime has no cgroup of its own. */
  readonly cgroup: 'v2' | 'v1' | 'none';
  /** Network interface whose counters are reported; empty: none. */
  readonly networkInterface: string;
}

/** What an agent opens before it is known whose it is. */
export type AgentPlaces = Pick<AgentConfig, 'dataDir' | 'volume' | 'cgroup'>;

/**
 * Tells a waiting agent to look again for what it waits for. Whoever does not wait, or not yet, ignores it: an agent looks
 * after it has begun to listen. Not a watch of its folders: a machine has 128 of these by default, for all nodes together.
 */
export const WAKE_SIGNAL = 'SIGURG';

/** File beside the configuration with `AgentPlaces` alone, for an agent that waits for the rest. */
export const PLACES_FILE = 'places.json';

/**
 * The nodes' network: one link per node, known by its slot. Adapters: a bridge with veth pairs, or loopback addresses.
 *
 * `attach` is called between the container's creation and its start; `detach` at any time, twice, and for links that
 * never were. Calls for different slots may run concurrently.
 */
export interface NetworkFabric {
  /** Makes the shared part (idempotent). Code: failed_precondition when the subnet is in use by something else. */
  prepare(): Promise<void>;
  attach(link: LinkSpec, signal: AbortSignal): Promise<void>;
  /** Removes the link; that of a node that has ended mostly goes by itself. */
  detach(slot: number): Promise<void>;
  /** Checks the shared part and the links of these slots; cheap enough to run every second. */
  inspect(slots: readonly number[]): Promise<NetworkState>;
  /** Reconnects a running node to the shared part, with a new link if the old one is gone. Idempotent. */
  relink(link: LinkSpec, signal: AbortSignal): Promise<void>;
  /** Slots of this instance that have a link on the host. */
  list(): Promise<readonly number[]>;
  /** Removes the shared part. */
  destroy(): Promise<void>;
  /** Address of the host as the nodes reach it: the bus listens here. */
  readonly hostAddress: string;
  /** Interface whose counters a node's agent reports; empty if the node has none of its own. */
  readonly nodeInterface: string;
}

export interface NetworkState {
  /** Problem of the shared part, for people; undefined if there is none. `prepare` repairs it. */
  readonly problem: string | undefined;
  /** Slots whose link is disconnected from the shared part. */
  readonly loose: readonly number[];
}

export interface LinkSpec {
  readonly slot: number;
  readonly ip: string;
  /** First process of the node: its network namespace gets the other end. */
  readonly pid: number;
}

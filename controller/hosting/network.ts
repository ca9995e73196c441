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
  detach(slot: number): Promise<void>;
  /** Looks, cheaply and as often as each second, at what the nodes share and at the links of these slots. */
  inspect(slots: readonly number[]): Promise<NetworkState>;
  /** Joins a running node to the shared part again, with a new link where the old one is gone. Idempotent. */
  relink(link: LinkSpec, signal: AbortSignal): Promise<void>;
  /** Slots of this instance that have a link on the host. */
  list(): Promise<readonly number[]>;
  /** Removes the shared part. */
  dispose(): Promise<void>;
  /** Where the host itself is reached from the nodes: the bus listens here. */
  readonly hostAddress: string;
  /** The node's interface whose counters its agent reports; empty: none of its own. */
  readonly nodeInterface: string;
}

export interface NetworkState {
  /** What is wrong with the shared part, for people; undefined: nothing. `prepare` mends it. */
  readonly problem: string | undefined;
  /** Slots whose link is cut off from it. */
  readonly loose: readonly number[];
}

export interface LinkSpec {
  readonly slot: number;
  readonly ip: string;
  /** First process of the node: its network namespace gets the other end. */
  readonly pid: number;
}

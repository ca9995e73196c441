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
  /** Slots of this instance that have a link on the host. */
  list(): Promise<readonly number[]>;
  /** Removes the shared part. */
  dispose(): Promise<void>;
  /** Where the host itself is reached from the nodes: the bus listens here. */
  readonly hostAddress: string;
  /** The node's interface whose counters its agent reports; empty: none of its own. */
  readonly nodeInterface: string;
}

export interface LinkSpec {
  readonly slot: number;
  readonly ip: string;
  /** First process of the node: its network namespace gets the other end. */
  readonly pid: number;
}

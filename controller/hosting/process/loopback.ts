/** For the process runtime: each node has a loopback address of its own. Linux answers on all of 127.0.0.0/8 unasked. */
import type { Subnet } from '../subnet.js';
import type { NetworkFabric, NetworkState } from '../network.js';

export class LoopbackNetwork implements NetworkFabric {
  readonly nodeInterface = '';
  readonly hostAddress: string;

  constructor(subnet: Subnet) {
    this.hostAddress = subnet.hostAddress;
  }

  prepare(): Promise<void> {
    return Promise.resolve();
  }

  attach(): Promise<void> {
    return Promise.resolve();
  }

  inspect(): Promise<NetworkState> {
    return Promise.resolve({ problem: undefined, loose: [] });
  }

  relink(): Promise<void> {
    return Promise.resolve();
  }

  detach(): Promise<void> {
    return Promise.resolve();
  }

  list(): Promise<readonly number[]> {
    return Promise.resolve([]);
  }

  destroy(): Promise<void> {
    return Promise.resolve();
  }
}

/** A network in memory: links by slot, and who has which. Scriptable: see FakeScript; calls are named `network.*`. */
import { NexusError } from '../../shared/errors.js';
import { FakeScript } from './script.js';
import type { LinkSpec, NetworkFabric, NetworkState } from '../../controller/hosting/network.js';

export class FakeNetwork implements NetworkFabric {
  readonly nodeInterface = 'eth0';
  readonly links = new Map<number, LinkSpec>();
  isPrepared = false;
  /** Set: something else has the subnet. */
  subnetIsTaken = false;

  constructor(
    readonly hostAddress: string,
    readonly script = new FakeScript(),
  ) {}

  prepare(): Promise<void> {
    return this.script.run('network.prepare', '', () => {
      if (this.subnetIsTaken) throw new NexusError('failed_precondition', 'something else has the subnet');
      this.isPrepared = true;
    });
  }

  attach(link: LinkSpec, signal: AbortSignal): Promise<void> {
    return this.script.run('network.attach', link.slot, () => {
      if (signal.aborted) throw new NexusError('cancelled', 'attaching was cancelled');
      if (!this.isPrepared) throw new NexusError('internal', 'there is no network yet');
      if (this.links.has(link.slot)) throw new NexusError('failed_precondition', `slot ${link.slot} has a link`);
      this.links.set(link.slot, link);
    });
  }

  inspect(slots: readonly number[]): Promise<NetworkState> {
    const problem = this.isPrepared ? undefined : 'there is no network';
    return Promise.resolve({ problem, loose: slots.filter((slot) => !this.links.has(slot)) });
  }

  relink(link: LinkSpec, signal: AbortSignal): Promise<void> {
    return this.script.run('network.relink', link.slot, () => {
      if (signal.aborted) throw new NexusError('cancelled', 'attaching was cancelled');
      if (!this.isPrepared) throw new NexusError('internal', 'there is no network yet');
      this.links.set(link.slot, link);
    });
  }

  detach(slot: number): Promise<void> {
    return this.script.run('network.detach', slot, () => {
      this.links.delete(slot);
    });
  }

  list(): Promise<readonly number[]> {
    return this.script.run('network.list', '', () => [...this.links.keys()]);
  }

  destroy(): Promise<void> {
    return this.script.run('network.dispose', '', () => {
      this.links.clear();
      this.isPrepared = false;
    });
  }
}

/**
 * The part of reconcile that runs all the time: reconnects nodes to the network, and starts nodes whose start failed
 * for a shared cause or for lack of a resource of the machine, once that is over.
 */
import { toNexusError } from '../../../shared/errors.js';
import type { NodeId } from '../../../shared/ids.js';
import { identityOf } from '../../hosting/record.js';
import type { NodeRecord } from '../../store/port/store.js';
import type { NodeService } from '../service.js';
import { isListening, isWaiting } from '../state.js';

/** Minimum between a failed start and the next one. */
const START_PERIOD_MS = 10_000;

export class NodeMender {
  /** Monotonic ms before which a node is not started again. */
  readonly #notBefore = new Map<NodeId, number>();

  constructor(private readonly service: NodeService) {}

  /** Called every NETWORK_PERIOD_MS. */
  async tick(signal: AbortSignal): Promise<void> {
    const { registry, causes, clock, hostRoom } = this.service.context;
    const linked = registry.list().filter(({ status }) => isListening(status));
    const loose = new Set(await causes.lookAtNetwork(linked.map(({ hosting }) => hosting.slot)));
    for (const node of linked.filter(({ hosting }) => loose.has(hosting.slot))) await this.#relink(node, signal);
    for (const id of this.#notBefore.keys()) if (registry.get(id) === undefined) this.#notBefore.delete(id);
    if (causes.current !== undefined || hostRoom.isFull) return;
    await Promise.all(
      registry
        .list()
        .filter((node) => isWaiting(node) && clock.monotonic() >= (this.#notBefore.get(node.id) ?? 0))
        .map((node) => this.#start(node, signal)),
    );
  }

  /** Under the node's lock: a stop in progress removes the link. */
  async #relink({ id, name }: NodeRecord, signal: AbortSignal): Promise<void> {
    const { registry, hostings, events, log } = this.service.context;
    try {
      await this.service.exclusively(id, async () => {
        const node = registry.get(id);
        if (node === undefined || !isListening(node.status)) return;
        const link = { slot: node.hosting.slot, ip: node.ip, pid: identityOf(node).pid };
        await hostings.of(node).network.relink(link, signal);
        await events.append(
          'node.relinked',
          name,
          `node ${name} was disconnected from the network and is connected again`,
        );
      });
    } catch (error) {
      log.error({ err: error, node: name }, 'a node cannot be connected to the network again; trying again');
    }
  }

  async #start({ id, name }: NodeRecord, signal: AbortSignal): Promise<void> {
    const { clock, log } = this.service.context;
    try {
      await this.service.startWaiting(id, signal);
      this.#notBefore.delete(id);
    } catch (error) {
      this.#notBefore.set(id, clock.monotonic() + START_PERIOD_MS);
      log.warn({ node: name, said: toNexusError(error).message }, 'a node whose start was postponed did not start');
    }
  }
}

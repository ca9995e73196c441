/** Shared dependencies of the node verbs: the ports and the few settings that concern them. */
import type { Clock } from '../../shared/async/clock.js';
import type { Settings } from '../../shared/config/settings.js';
import type { Logger } from '../../shared/log.js';
import type { NodeId } from '../../shared/ids.js';
import type { AgentBus } from '../bus/port.js';
import type { SharedCauses } from '../cause/shared-causes.js';
import type { EventLog } from '../events/log.js';
import type { HostRoom } from '../host/room.js';
import type { Hostings } from '../hosting/port.js';
import type { MetricsHistory } from '../metrics/history.js';
import type { FileStore } from '../store/port/store.js';
import type { ReplicaStore } from '../store/port/replicas.js';
import type { NodeRegistry } from './registry.js';

/** Work on nodes besides their own containers, such as sandboxes. It has to end before the containers do. */
export interface NodeGuests {
  /** Resolves when none of it is left on the node; running work gets up to `graceMs` to end. Idempotent. */
  leave(node: NodeId, graceMs: number): Promise<void>;
}

export interface NodeContext {
  readonly registry: NodeRegistry;
  readonly metrics: MetricsHistory;
  readonly files: FileStore;
  readonly replicas: Pick<ReplicaStore, 'walk'>;
  readonly hostings: Hostings;
  readonly bus: AgentBus;
  readonly causes: SharedCauses;
  readonly events: EventLog;
  readonly clock: Clock;
  readonly log: Logger;
  readonly guests: NodeGuests;
  readonly settings: Settings;
  /** Raw Ed25519 key that agents check chunk tokens with. */
  readonly tokenPublicKey: Buffer;
  /** Memory of this machine, bytes: the upper bound of a node's memory. */
  readonly hostMemoryBytes: number;
  readonly hostRoom: HostRoom;
}

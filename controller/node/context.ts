/** What the node verbs work with: the ports and the few settings that concern them. */
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

/** What lives on nodes besides their own containers, and has to go before these do. */
export interface NodeGuests {
  /** Nothing of it is left on the node when this resolves; what runs may go on for `graceMs`. Idempotent. */
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
  /** Memory of this machine, bytes: no node may be given more. */
  readonly hostMemoryBytes: number;
  readonly hostRoom: HostRoom;
}

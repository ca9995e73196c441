/** Dependencies of the file use cases. */
import type { SigningKey } from '../../shared/chunk-token.js';
import type { Clock } from '../../shared/async/clock.js';
import type { Settings } from '../../shared/config/settings.js';
import type { Logger } from '../../shared/log.js';
import type { EventLog } from '../events/log.js';
import type { FsStore } from '../store/port/fs.js';
import type { FileStore } from '../store/port/store.js';
import type { ReplicaStore } from '../store/port/replicas.js';
import type { Pins } from '../vfs/pins.js';
import type { NodeDirectory } from './nodes.js';
import type { Room } from './room.js';

export interface FileDeps {
  readonly store: FileStore;
  readonly fs: FsStore;
  readonly replicas: ReplicaStore;
  readonly pins: Pins;
  readonly nodes: NodeDirectory;
  /** Free room less what the nodes' reports do not show yet; shared by everything that places chunks. */
  readonly room: Room;
  readonly signer: SigningKey;
  readonly clock: Clock;
  readonly log: Logger;
  readonly settings: Pick<Settings, 'defaultReplicas' | 'uploadTtlMs' | 'quotaMb'>;
  readonly events: EventLog;
}

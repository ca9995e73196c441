/** What the file use cases work with. */
import type { SigningKey } from '../../shared/chunk-token.js';
import type { Clock } from '../../shared/clock.js';
import type { Settings } from '../../shared/config/settings.js';
import type { Logger } from '../../shared/log.js';
import type { EventLog } from '../events/log.js';
import type { FileStore } from '../store/port.js';
import type { NodeDirectory } from './nodes.js';

export interface FileDeps {
  readonly store: FileStore;
  readonly nodes: NodeDirectory;
  readonly signer: SigningKey;
  readonly clock: Clock;
  readonly log: Logger;
  readonly settings: Pick<Settings, 'defaultReplicas' | 'uploadTtlMs'>;
  readonly events: EventLog;
}

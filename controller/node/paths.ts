/** Where a node's files are on the host. */
import { join } from 'node:path';
import type { Settings } from '../../shared/config/settings.js';
import type { NodeId } from '../../shared/ids.js';

export const nodeRunDir = (settings: Settings, id: NodeId): string => join(settings.runDir, id);
export const nodeConfigDir = (settings: Settings, id: NodeId): string => join(settings.runDir, id, 'config');
export const nodeSocket = (settings: Settings, id: NodeId): string => join(settings.runDir, id, 'agent.sock');
export const nodeLog = (settings: Pick<Settings, 'stateDir'>, id: NodeId): string =>
  join(settings.stateDir, 'logs', `${id}.log`);

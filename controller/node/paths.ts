/** Paths of a node's files on the host. */
import { join } from 'node:path';
import type { Settings } from '../../shared/config/settings.js';
import type { NodeId } from '../../shared/ids.js';
import type { LogPlace } from '../log/port.js';

export const nodeRunDir = (settings: Settings, id: NodeId): string => join(settings.runDir, id);
export const nodeConfigDir = (settings: Settings, id: NodeId): string => join(settings.runDir, id, 'config');
export const nodeSocket = (settings: Settings, id: NodeId): string => join(settings.runDir, id, 'agent.sock');
/** The log and the record of its writer. */
export const nodeLogPlace = (settings: Settings, id: NodeId): LogPlace => ({
  path: nodeLog(settings, id),
  record: logRecord(settings, id),
});
export const logRecord = (settings: Pick<Settings, 'runDir'>, id: NodeId): string =>
  join(settings.runDir, id, 'log-writer.json');
export const nodeLog = (settings: Pick<Settings, 'stateDir'>, id: NodeId): string =>
  join(settings.stateDir, 'logs', `${id}.log`);

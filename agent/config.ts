/**
 * Reads the agent's configuration file. The controller wrote it, so a wrong field is a defect of the installation: it is
 * named and the agent does not start. Checked by hand: a schema library would cost each node megabytes of memory.
 */
import { existsSync, readFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { cancel, every } from '../shared/async/timers.js';
import { outcome } from '../shared/async/wait.js';
import { PLACES_FILE, WAKE_SIGNAL, type AgentConfig, type AgentPlaces } from '../shared/config/agent-config.js';
import { NexusError } from '../shared/errors.js';
import { isNodeId } from '../shared/ids.js';

export const DEFAULT_CONFIG_FILE = '/.nexus/config/agent.json';

/** A process that only listens for signals would end; it wakes for this one once in a day. */
const ALIVE_MS = 86_400_000;

/**
 * Waits until there is something at the path, of which WAKE_SIGNAL tells. `onListening` is called when nothing is missed any
 * more. Returns false if the agent was asked to end before.
 */
export function appears(path: string, asked: Promise<unknown>, onListening?: () => void): Promise<boolean> {
  return outcome<boolean>((resolve) => {
    const look = (): void => {
      if (existsSync(path)) resolve(true);
    };
    process.on(WAKE_SIGNAL, look);
    const alive = every(ALIVE_MS, look);
    void asked.then(() => resolve(false));
    look();
    onListening?.();
    return () => {
      cancel(alive);
      process.off(WAKE_SIGNAL, look);
    };
  });
}

const TEXT_FIELDS = ['nodeName', 'instance', 'natsUrl', 'credsFile', 'tokenPublicKey', 'host'];
const PUBLIC_KEY_BYTES = 32;

/** Code: invalid_argument, naming the field. */
export const loadAgentConfig = (file: string): AgentConfig => checkAgentConfig(parsed(file));

/** The part of the configuration at `file` that an agent has before the rest. Code: invalid_argument. */
export function loadAgentPlaces(file: string): AgentPlaces {
  const fields = parsed(join(dirname(file), PLACES_FILE));
  if (typeof fields !== 'object' || fields === null) throw wrong('the file', 'must be a JSON object');
  assertPlaces(fields as Record<string, unknown>);
  return fields as AgentConfig;
}

function parsed(file: string): unknown {
  try {
    return JSON.parse(readFileSync(file, 'utf8'));
  } catch (error) {
    const why = error instanceof Error ? error.message : String(error);
    throw new NexusError(
      'invalid_argument',
      `cannot read the agent configuration ${file}: ${why}`,
      {},
      { cause: error },
    );
  }
}

/** Code: invalid_argument, naming the field. */
export function checkAgentConfig(parsed: unknown): AgentConfig {
  if (typeof parsed !== 'object' || parsed === null) throw wrong('the file', 'must be a JSON object');
  const fields = parsed as Record<string, unknown>;
  const { nodeId, port, statusSocket, networkInterface } = fields;
  if (typeof nodeId !== 'string' || !isNodeId(nodeId)) throw wrong('nodeId', 'must be a node id');
  for (const name of TEXT_FIELDS) {
    if (typeof fields[name] !== 'string' || fields[name] === '') throw wrong(name, 'must be a text');
  }
  if (Buffer.from(fields['tokenPublicKey'] as string, 'base64').length !== PUBLIC_KEY_BYTES) {
    throw wrong('tokenPublicKey', `must be ${PUBLIC_KEY_BYTES} bytes in base64`);
  }
  if (!Number.isInteger(port) || (port as number) < 0 || (port as number) > 65_535)
    throw wrong('port', 'must be a TCP port');
  assertPlaces(fields);
  if (!isSocket(statusSocket)) throw wrong('statusSocket', 'must be {path} or {fd}');
  if (typeof networkInterface !== 'string') throw wrong('networkInterface', 'must be a text');
  return fields as unknown as AgentConfig;
}

function assertPlaces({ dataDir, volume, cgroup }: Record<string, unknown>): void {
  if (typeof dataDir !== 'string' || dataDir === '') throw wrong('dataDir', 'must be a text');
  if (!isVolume(volume)) throw wrong('volume', 'must be {kind: mounted} or {kind: directory, sizeBytes}');
  if (cgroup !== 'v2' && cgroup !== 'v1' && cgroup !== 'none') throw wrong('cgroup', 'must be v2, v1 or none');
}

function isVolume(value: unknown): value is AgentConfig['volume'] {
  if (typeof value !== 'object' || value === null || !('kind' in value)) return false;
  if (value.kind === 'mounted') return true;
  return value.kind === 'directory' && 'sizeBytes' in value && Number.isSafeInteger(value.sizeBytes);
}

function isSocket(value: unknown): value is AgentConfig['statusSocket'] {
  if (typeof value !== 'object' || value === null) return false;
  return 'fd' in value ? Number.isSafeInteger(value.fd) : 'path' in value && typeof value.path === 'string';
}

const wrong = (field: string, rule: string): NexusError =>
  new NexusError('invalid_argument', `agent configuration: ${field} ${rule}`, { field });

/** Use of memory, processor and network by the node: by its cgroup, or by this process where it has none. */
import { readFileSync } from 'node:fs';
import { Cgroup } from '../shared/cgroup/cgroup.js';
import { NO_USAGE, usageOf, type CgroupUsage } from '../shared/cgroup/figures.js';
import type { AgentConfig } from '../shared/config/agent-config.js';

/**
 * `read` may be called at any time and concurrently. A number that the host does not report is 0: a missing counter
 * must not cost the report its other figures.
 */
export interface CgroupReader {
  read(): Promise<CgroupUsage>;
}

/** `root`: where the cgroup is mounted; a node sees its own as the root, because its namespace begins there. */
export function cgroupReader(layout: AgentConfig['cgroup'], root?: string): CgroupReader {
  if (layout === 'none') return { read: () => Promise.resolve(ownUsage()) };
  const cgroup = new Cgroup(layout, '/', root);
  return { read: () => usageOf(cgroup) };
}

/** No cgroup of its own (process runtime): the node is this one process, and its figures are the process's. */
function ownUsage(): CgroupUsage {
  const memoryUsageBytes = process.memoryUsage.rss();
  const { user, system } = process.cpuUsage();
  return {
    ...NO_USAGE,
    memoryUsageBytes,
    memoryWorkingSetBytes: memoryUsageBytes,
    cpuUsageUsec: user + system,
    pids: 1,
  };
}

/** Traffic of the node's network interface; cumulative. */
export interface NetworkUsage {
  readonly receivedBytes: number;
  readonly sentBytes: number;
}

const NO_TRAFFIC: NetworkUsage = { receivedBytes: 0, sentBytes: 0 };
/** /proc/net/dev: eight receive columns, then the transmit columns; both begin with bytes. */
const SENT_COLUMN = 8;

/**
 * Zeros for an interface that is not there, or when `name` is empty. Not from /sys, which shows the interfaces of the
 * namespace in which it was mounted.
 */
export function readNetworkUsage(name: string, file = '/proc/net/dev'): NetworkUsage {
  if (name === '') return NO_TRAFFIC;
  try {
    return parseNetworkUsage(name, readFileSync(file, 'utf8'));
  } catch {
    return NO_TRAFFIC;
  }
}

export function parseNetworkUsage(name: string, text: string): NetworkUsage {
  for (const line of text.split('\n')) {
    const colon = line.indexOf(':');
    if (colon < 0 || line.slice(0, colon).trim() !== name) continue;
    const columns = line
      .slice(colon + 1)
      .trim()
      .split(/\s+/)
      .map(Number);
    return { receivedBytes: columns[0] ?? 0, sentBytes: columns[SENT_COLUMN] ?? 0 };
  }
  return NO_TRAFFIC;
}

/** Traffic counters of the node's network interface, from /proc/net/dev: /sys shows the mounter's namespace, not ours. */
import { readFile } from 'node:fs/promises';

export interface NetworkUsage {
  /** Cumulative. */
  readonly receivedBytes: number;
  /** Cumulative. */
  readonly sentBytes: number;
}

const NOTHING: NetworkUsage = { receivedBytes: 0, sentBytes: 0 };
/** /proc/net/dev: eight receive columns, then the transmit columns; both begin with bytes. */
const SENT_COLUMN = 8;

/** Zeros for an interface that is not there, or when `name` is empty. */
export async function readNetworkUsage(name: string, file = '/proc/net/dev'): Promise<NetworkUsage> {
  if (name === '') return NOTHING;
  return parseNetworkUsage(name, await readFile(file, 'utf8').catch(() => ''));
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
  return NOTHING;
}

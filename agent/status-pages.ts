/**
 * The agent seen alone, without the controller's help: /healthz, /inspect and /chunks (JSON), /metrics (Prometheus text).
 * Read-only, bounded, and open to whoever reaches the agent; so no page holds keys, tokens, or names of users' files.
 */
import { NexusError } from '../shared/errors.js';
import type { ListedChunk } from './chunk/inventory.js';
import type { Transfers } from './chunk/transfers.js';
import type { StatusPages } from './chunk/server.js';
import type { CommandLog } from './command-log.js';
import { inspectedFigures } from '../shared/metrics/node-fields.js';
import { prometheusText } from './prometheus.js';
import type { AgentIdentity, NodeUsage } from './report.js';

export interface StatusSources {
  readonly identity: AgentIdentity;
  readonly nodeName: string;
  readonly usage: () => Promise<NodeUsage>;
  readonly transfers: Transfers;
  /** HTTP connections open at present. */
  readonly connections: () => Promise<number>;
  readonly busConnected: () => boolean;
  readonly heartbeatIntervalMs: () => number;
  readonly commands: CommandLog;
  /** In order of id, those above `after`. */
  readonly listChunks: (after: string, limit: number) => Promise<readonly ListedChunk[]>;
  readonly now: () => number;
}

/** Field names are a promise to scripts. */
export async function inspection(sources: StatusSources): Promise<string> {
  const { identity, transfers } = sources;
  const { figures, condition } = await sources.usage();
  const { '': single, volume, ...groups } = inspectedFigures(figures);
  return JSON.stringify({
    node_id: identity.nodeId,
    node: sources.nodeName,
    version: identity.version,
    agent_instance: identity.agentInstance,
    pid: process.pid,
    started_at: new Date(identity.startedAtMs).toISOString(),
    uptime_s: Math.floor((sources.now() - identity.startedAtMs) / 1000),
    draining: transfers.draining,
    nats_connected: sources.busConnected(),
    heartbeat_interval_ms: sources.heartbeatIntervalMs(),
    connections: await sources.connections(),
    transfers: { active: transfers.active, limit: transfers.bound },
    ...single,
    ...groups,
    volume: { ...volume, state: condition.state, reason: condition.reason },
    commands: sources.commands.entries,
  });
}

export function statusPages(sources: StatusSources): StatusPages {
  return {
    '/healthz': {
      contentType: 'application/json',
      render: () => Promise.resolve(JSON.stringify({ status: sources.transfers.draining ? 'draining' : 'ok' })),
    },
    '/inspect': { contentType: 'application/json', render: () => inspection(sources) },
    '/chunks': { contentType: 'application/json', render: (query) => chunksPage(sources.listChunks, query) },
    '/metrics': {
      contentType: 'text/plain; version=0.0.4; charset=utf-8',
      render: async () =>
        prometheusText({
          node: sources.nodeName,
          usage: await sources.usage(),
          activeTransfers: sources.transfers.active,
          uptimeSeconds: (sources.now() - sources.identity.startedAtMs) / 1000,
        }),
    },
  };
}

/** Entries of the page of chunks. */
const USUAL = 100;
/** Each costs the reading of a small file. */
const MOST = 1000;

type ListChunks = (after: string, limit: number) => Promise<readonly ListedChunk[]>;

/**
 * Lists the chunks on the volume, in order of id. Names and owners are left out: this page asks nobody who they are, and
 * an id alone opens no chunk. Field names are a promise to scripts. `next` is what `after` has to be for the next page, null on the last one.
 */
export async function chunksPage(list: ListChunks, query: URLSearchParams): Promise<string> {
  const unknown = [...query.keys()].find((name) => name !== 'after' && name !== 'limit');
  if (unknown !== undefined)
    throw new NexusError('invalid_argument', `unknown parameter "${unknown}"; use after or limit`);
  const limit = limitOf(query.get('limit'));
  const chunks = await list(query.get('after') ?? '', limit);
  return JSON.stringify({
    chunks: chunks.map(({ chunk, size, md5, of, damage }) => ({
      chunk_id: chunk,
      size,
      md5,
      file_id: of?.file ?? null,
      index: of?.index ?? null,
      ...(damage === undefined ? {} : { damage }),
    })),
    next: chunks.length < limit ? null : (chunks.at(-1)?.chunk ?? null),
  });
}

function limitOf(text: string | null): number {
  if (text === null) return USUAL;
  const limit = Number(text);
  if (/^\d+$/.test(text) && limit >= 1 && limit <= MOST) return limit;
  throw new NexusError('invalid_argument', `limit can't be "${text}"; give a whole number from 1 to ${MOST}`);
}

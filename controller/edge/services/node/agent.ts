/** The part of NodeService that queries an agent; it stores and changes nothing. */
import { z } from 'zod';
import type { StoredChunk } from '../../../../shared/gen/nexus/v1/agent.js';
import type { AgentChunk, NodeServiceServer } from '../../../../shared/gen/nexus/v1/node.js';
import { NexusError } from '../../../../shared/errors.js';
import { chunkPage } from '../../../node/chunk-page.js';
import type { NodeContext } from '../../../node/context.js';
import { isListening, notUp } from '../../../node/state.js';
import type { NodeRecord } from '../../../store/port/store.js';
import type { Edge } from '../../admission.js';
import { unary } from '../../handlers.js';
import { parseRequest } from '../../validate.js';

/** An agent answers within milliseconds, or hangs. */
const INSPECT_TIMEOUT_MS = 5000;
/** Time for reading a thousand small files per page from a disk that may be busy. */
const LIST_TIMEOUT_MS = 30_000;
/** An agent's own limit for one answer. */
const MAX_PAGE = 1000;

const listSchema = z.object({
  node: z.string(),
  after: z.string().regex(/^[0-9a-f]{0,32}$/, 'must be a chunk id or the beginning of one'),
  limit: z.number().int().max(MAX_PAGE),
});

type AgentHandlers = Pick<NodeServiceServer, 'inspectAgent' | 'listAgentChunks'>;

/** Codes: not_found, failed_precondition (the node is down), and those of the bus: unavailable when no agent answers. */
export function agentHandlers({ registry, bus }: NodeContext, edge: Edge): AgentHandlers {
  return {
    inspectAgent: unary(edge, async ({ node }) => {
      const record = listening(registry.resolve(node));
      const { inspection } = await named(record, () => bus.request(record.id, { inspect: {} }, INSPECT_TIMEOUT_MS));
      return { inspection };
    }),
    listAgentChunks: unary(edge, async (request) => {
      const { node, after, limit: wanted } = parseRequest(listSchema, request);
      const limit = wanted === 0 ? MAX_PAGE : wanted;
      const record = listening(registry.resolve(node));
      const page = { after, limit, timeoutMs: LIST_TIMEOUT_MS };
      const chunks = await named(record, () => chunkPage({ bus, registry }, record.id, page));
      return { chunks: chunks.map(chunkShape), next: chunks.length < limit ? '' : (chunks.at(-1)?.chunkId ?? '') };
    }),
  };
}

/** Code: failed_precondition. */
function listening(record: NodeRecord): NodeRecord {
  const { name, status } = record;
  if (isListening(status)) return record;
  throw notUp(name, status, ' and has no agent');
}

/** Replaces the node's id, which the bus reports, by the name that the caller knows. Codes: unchanged. */
async function named<Answer>({ id, name }: NodeRecord, ask: () => Promise<Answer>): Promise<Answer> {
  try {
    return await ask();
  } catch (error) {
    if (!(error instanceof NexusError) || error.details['silentAgent'] !== id) throw error;
    const message = error.message.replaceAll(id, name);
    const advice = { key: 'restart-silent-node', node: name } as const;
    throw new NexusError(error.code, message, {}, { cause: error, advice });
  }
}

const chunkShape = ({ chunkId, size, md5, origin, damage }: StoredChunk): AgentChunk => ({
  chunkId,
  size,
  md5,
  fileId: origin?.fileId ?? '',
  index: origin?.index ?? 0,
  name: origin?.name ?? '',
  owner: origin?.owner ?? '',
  damage,
});

/** `nexus agent inspect` and `nexus agent ls-chunks` */
import { NexusError } from '../../shared/errors.js';
import type { AgentChunk } from '../../shared/gen/nexus/v1/node.js';
import { inspectionText, parseInspection } from './agent-text.js';
import { command } from '../runner/command.js';
import type { Controller } from '../connect/connection.js';
import { formatBytes } from '../terminal/format.js';
import { table, widthOf } from '../terminal/output.js';
import { plainShape } from '../runner/shapes.js';

const NODE = { node: { description: 'name, id or unique beginning of an id', completes: 'node' } } as const;
/** Most chunks held in memory before printing: a volume of a terabyte has a hundred thousand chunks. */
const MOST_CHUNKS = 100_000;
const USUAL_CHUNKS = 1000;

export const inspect = command({
  summary: 'the state that an agent reports',
  details: 'Asked for at this moment: version, uptime, volume, chunks, connections, and the last 20 commands.',
  positionals: NODE,
  flags: {},
  examples: [
    ['nexus agent inspect web-1', 'for people'],
    ['nexus agent inspect web-1 -o json', 'as the agent’s own page /inspect has it'],
  ],
  run: async ({ node }, context) => {
    const controller = await context.connect();
    const { inspection } = await controller.call(controller.node, controller.node.inspectAgent, { node });
    const found = parseInspection(inspection);
    await context.print(found, () => inspectionText(found, widthOf(context.streams.stdout)));
    return 0;
  },
});

export const listChunks = command({
  summary: 'the chunks on a node’s volume',
  details:
    'Read by its agent now, in order of id. FILE is the file that the chunk was written for, empty if the volume has no record of it. DAMAGE is the reason why a copy cannot be read, empty for a good one.',
  positionals: NODE,
  flags: {
    limit: {
      type: 'string',
      hint: 'N',
      description: `most chunks to list, up to ${MOST_CHUNKS} (default ${USUAL_CHUNKS})`,
    },
    after: { type: 'string', hint: 'ID', description: 'only chunks with ids above this one' },
  },
  examples: [
    ['nexus agent ls-chunks web-1', 'the first thousand'],
    ['nexus agent ls-chunks web-1 --after 8 --limit 50', 'fifty in the upper half of all ids'],
  ],
  run: async (input, context) => {
    const controller = await context.connect();
    const limit = parseCount(input.limit);
    const { chunks, next } = await firstChunks(controller, input.node, input.after ?? '', limit);
    await context.print(chunks.map(plainShape), () => chunksText(chunks, widthOf(context.streams.stdout)));
    if (next !== '') context.note(`there are more; go on with --after ${next}`);
    return 0;
  },
});

async function firstChunks(
  controller: Controller,
  node: string,
  after: string,
  limit: number,
): Promise<{ readonly chunks: AgentChunk[]; readonly next: string }> {
  const found: AgentChunk[] = [];
  let next = after;
  do {
    const request = { node, after: next, limit: Math.min(USUAL_CHUNKS, limit - found.length) };
    const page = await controller.call(controller.node, controller.node.listAgentChunks, request);
    found.push(...page.chunks);
    ({ next } = page);
  } while (next !== '' && found.length < limit);
  return { chunks: found, next };
}

function parseCount(text: string | undefined): number {
  if (text === undefined) return USUAL_CHUNKS;
  const count = Number(text);
  if (/^\d+$/.test(text) && count >= 1 && count <= MOST_CHUNKS) return count;
  throw new NexusError('invalid_argument', `--limit can't be "${text}"; give a whole number from 1 to ${MOST_CHUNKS}`);
}

const chunksText = (chunks: readonly AgentChunk[], width: number): string =>
  table(
    [
      { title: 'CHUNK' },
      { title: 'SIZE', right: true },
      { title: 'DAMAGE', least: 12, flexible: 'words' },
      { title: 'MD5', leaveOut: 1 },
      { title: 'FILE', leaveOut: 5 },
      { title: 'INDEX', leaveOut: 3, right: true },
      { title: 'NAME', leaveOut: 4, least: 16, flexible: 'middle' },
      { title: 'OWNER', leaveOut: 2 },
    ],
    chunks.map(({ chunkId, size, md5, fileId, index, name, owner, damage }) => [
      chunkId,
      formatBytes(Number(size)),
      damage,
      md5,
      fileId,
      fileId === '' ? '' : String(index),
      name,
      owner,
    ]),
    width,
  );

/** Reads and shows an agent's report on itself. An agent of another version may leave fields out. Pure. */
import { z } from 'zod';
import { NexusError } from '../../shared/errors.js';
import { formatAge, formatBytes } from '../terminal/format.js';
import { limited } from './metrics-text.js';
import { facts, table } from '../terminal/output.js';

const number = z.number().catch(0);
const text = z.string().catch('');
const group = <Shape extends z.ZodRawShape>(shape: Shape): z.ZodPreprocess<z.ZodObject<Shape, z.core.$loose>> =>
  z.preprocess((given) => given ?? {}, z.looseObject(shape));

/** Unknown fields are kept: the JSON output is the agent's own report. */
const schema = z.looseObject({
  node_id: text,
  node: text,
  version: text,
  pid: number,
  started_at: text,
  draining: z.boolean().catch(false),
  nats_connected: z.boolean().catch(false),
  connections: number,
  transfers: group({ active: number, limit: number }),
  volume: group({ total_bytes: number, used_bytes: number, free_bytes: number }),
  memory: group({ usage_bytes: number, working_set_bytes: number, limit_bytes: number }),
  cpu_usage_usec: number,
  pids: number,
  network: group({ rx_bytes: number, tx_bytes: number }),
  chunks: group({ count: number, bytes: number, reads: number, writes: number, checksum_failures: number }),
  commands: z.array(z.looseObject({ at: text, command: text, result: text, duration_ms: number })).catch([]),
});

export type Inspection = z.infer<typeof schema>;

/** Code: internal. */
export function parseInspection(json: string): Inspection {
  try {
    return schema.parse(JSON.parse(json));
  } catch (error) {
    throw new NexusError('internal', 'the answer of the agent is not an inspection', {}, { cause: error });
  }
}

export function inspectionText(found: Inspection, width: number): string {
  const { transfers, volume, memory, network, chunks, commands } = found;
  const state = [found.draining ? 'going down' : 'up', found.nats_connected ? 'on the bus' : 'without the bus'];
  const lines = facts(
    [
      ['node', `${found.node}  ${found.node_id}`],
      ['agent', `version ${found.version}, ${state.join(', ')}, pid ${found.pid} in the node`],
      ['up', found.started_at === '' ? 'not told' : `${formatAge(found.started_at)}, since ${found.started_at}`],
      ['connections', `${found.connections}, ${transfers.active} of at most ${transfers.limit} transfers`],
      [
        'volume',
        `${formatBytes(volume.used_bytes)} / ${formatBytes(volume.total_bytes)} used, ${formatBytes(volume.free_bytes)} can be written`,
      ],
      [
        'memory',
        `${limited(memory.working_set_bytes, memory.limit_bytes)} in use, ${formatBytes(memory.usage_bytes)} with page cache`,
      ],
      ['cpu', `${(found.cpu_usage_usec / 1e6).toFixed(1)} s in all, ${found.pids} processes and threads`],
      ['network', `${formatBytes(network.rx_bytes)} received, ${formatBytes(network.tx_bytes)} sent`],
      [
        'chunks',
        `${chunks.count}, ${formatBytes(chunks.bytes)}; ${chunks.reads} read, ${chunks.writes} written, ${chunks.checksum_failures} damaged`,
      ],
    ],
    width,
  );
  if (commands.length === 0) return `${lines}\nno commands yet`;
  const rows = commands.map(({ at, command, result, duration_ms: ms }) => [at, command, result, `${ms} ms`]);
  const columns = [
    { title: 'AT' },
    { title: 'COMMAND' },
    { title: 'RESULT', flexible: 'words' },
    { title: 'TOOK', leaveOut: 1, right: true },
  ] as const;
  return `${lines}\n\n${table(columns, rows, width)}`;
}

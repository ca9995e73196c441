/** The shapes that routes answer with, by the names that the OpenAPI document gives them. Fields may be added. */
import { z } from 'zod';
import { nodeFields } from '../../../shared/metrics/node-fields.js';
import { snakeCase } from '../../../shared/rpc/shapes.js';

const time = z.iso.datetime().describe('RFC 3339');
const optionalTime = z.union([time, z.literal('')]);
const bytes = z.number().int().min(0).describe('bytes');
const count = z.number().int().min(0);

export const errorSchema = z
  .looseObject({
    error: z.string().describe('what happened and what to do'),
    code: z.string().describe('a code by which programs distinguish errors'),
    details: z.record(z.string(), z.unknown()).describe('e.g. the field that was wrong'),
  })
  .meta({ id: 'Error' });

export const messageSchema = z.looseObject({ message: z.string() }).meta({ id: 'Message' });

export const sessionSchema = z
  .looseObject({
    token: z.string().describe('for `Authorization: Bearer TOKEN`'),
    username: z.string(),
    expires_at: time,
  })
  .meta({ id: 'Session' });

export const whoAmISchema = z
  .looseObject({
    username: z.string(),
    role: z.enum(['user', 'admin']),
    email: z.string(),
    token_id: z.string(),
    expires_at: optionalTime,
  })
  .meta({ id: 'WhoAmI' });

export const jwksSchema = z
  .looseObject({
    keys: z.array(
      z.looseObject({
        kty: z.literal('EC'),
        crv: z.literal('P-256'),
        alg: z.literal('ES256'),
        use: z.literal('sig'),
        kid: z.string(),
        x: z.string(),
        y: z.string(),
      }),
    ),
  })
  .meta({ id: 'Jwks' });

export const nodeSchema = z
  .looseObject({
    id: z.string(),
    name: z.string(),
    status: z.enum(['Creating', 'Running', 'Suspect', 'Lost', 'Stopping', 'Stopped', 'Removing', 'Failed']),
    status_reason: z.string(),
    ip: z.string(),
    memory_mb: count,
    cpu_shares: count,
    storage_size: bytes,
    image: z.string(),
    labels: z.record(z.string(), z.string()),
    cordoned: z.boolean(),
    created_at: time,
  })
  .meta({ id: 'Node' });

const FIGURE_SCHEMAS = nodeFields().flatMap(({ message, unit, help, rate }) => {
  const figure = unit === 'seconds' ? z.number().min(0) : unit === 'bytes' ? bytes : count;
  const growth = z.number().optional().describe('from two reports; absent in the first');
  return [[message, figure.describe(help)] as const, ...(rate === undefined ? [] : [[rate.message, growth] as const])];
});

export const metricsSchema = z
  .looseObject({
    node_id: z.string(),
    node: z.string(),
    at: time,
    ...Object.fromEntries(FIGURE_SCHEMAS.map(([name, schema]) => [snakeCase(name), schema])),
  })
  .meta({ id: 'NodeMetrics' });

export const removedNodeSchema = z
  .looseObject({
    id: z.string(),
    name: z.string(),
    lost_files: z.array(z.string()).describe('ids of the files of which some chunk is gone for good'),
    lost: z
      .array(z.looseObject({ id: z.string(), name: z.string(), owner: z.string() }))
      .describe('the first of them with their names'),
  })
  .meta({ id: 'RemovedNode' });

export const drainSchema = z
  .looseObject({ remaining_chunks: count, remaining_bytes: bytes, is_finished: z.boolean() })
  .meta({ id: 'DrainProgress' });

export const HEALTH = ['ready', 'unavailable', 'partial', 'damaged', 'lost'] as const;

const fileStatus = z
  .enum(['uploading', ...HEALTH])
  .describe(
    'ready: every byte can be read; unavailable: some chunk is only on nodes that are down; damaged: some chunk has only damaged copies left; lost: some chunk has no copy left; partial: restored without some of its chunks',
  );

export const fileSchema = z
  .looseObject({
    id: z.string(),
    name: z.string(),
    size: bytes,
    chunks_count: count,
    replicas: count,
    owner: z.string(),
    status: fileStatus,
    created_at: time,
  })
  .meta({ id: 'File' });

export const storedSchema = fileSchema.extend({ path: z.string() }).meta({ id: 'StoredFile' });

export const removedFileSchema = z.looseObject({ id: z.string(), name: z.string() }).meta({ id: 'RemovedFile' });

export const entrySchema = z
  .looseObject({
    name: z.string(),
    path: z.string(),
    type: z.enum(['file', 'folder']),
    size: bytes.describe('bytes; of a folder 0'),
    created_at: time,
    modified_at: time,
    file_id: z.string().describe('the content; empty for folders'),
    status: fileStatus.describe('as of a file; of a folder ready'),
  })
  .meta({ id: 'FsEntry' });

export const quotaSchema = z
  .looseObject({ username: z.string(), limit: bytes.describe('bytes; 0: none'), used: bytes, reserved: bytes })
  .meta({ id: 'Quota' });

export const pathMessageSchema = z.looseObject({ message: z.string(), path: z.string() }).meta({ id: 'PathMessage' });

export const removalSchema = z
  .looseObject({ message: z.string(), files: count, folders: count, bytes })
  .meta({ id: 'Removal' });

export const healthSchema = z
  .looseObject({
    status: z.enum(['ok', 'ready', 'not ready']),
    causes: z
      .array(z.looseObject({ kind: z.string(), problem: z.string(), since: z.string() }))
      .optional()
      .describe('what all nodes depend on and is away; requests that need it wait or fail'),
  })
  .meta({ id: 'Health' });

export const lambdaResultSchema = z
  .looseObject({
    stdout: z.string().describe('bytes that are not UTF-8 are U+FFFD in it; stdout_base64 has them all'),
    stderr: z.string(),
    stdout_base64: z.string().optional(),
    stderr_base64: z.string().optional(),
    result: z.unknown().optional().describe('what `handler` returned, as it was written; absent: nothing was'),
    exit_code: count.describe('of the code; 124 after a timeout, 137 when it was ended for its memory or its output'),
    execution_time_ms: z.number(),
    peak_memory_bytes: bytes,
    reason: z.enum(['exit', 'timeout', 'out_of_memory', 'output_limit', 'cancelled']),
    node: z.string(),
  })
  .meta({ id: 'LambdaResult' });

/** Request schemas of NodeService: forms, ranges and defaults. */
import { z } from 'zod';
import { isSignalName } from '../../../../shared/exec.js';
import { BASE_IMAGE } from '../../../image/port.js';
import { LABEL_PATTERN, LABEL_RULE } from '../../../../shared/ids.js';
import {
  DEFAULT_CPU_WEIGHT,
  DEFAULT_MEMORY_MB,
  DEFAULT_PIDS_LIMIT,
  DEFAULT_STORAGE_BYTES,
  LARGEST_NODE_ID,
  MAX_CPU_WEIGHT,
  MAX_LABELS,
  MAX_PIDS_LIMIT,
  MAX_STORAGE_BYTES,
  MIB,
  MIN_MEMORY_MB,
  MIN_PIDS_LIMIT,
  MIN_STORAGE_BYTES,
} from '../../../../shared/limits.js';

const label = (what: string): z.ZodString => z.string().regex(LABEL_PATTERN, `${what} must be ${LABEL_RULE}`);

/** Zero means "not given" in protobuf. */
const orDefault = (value: number): z.ZodPreprocess<z.ZodNumber> =>
  z.preprocess((given) => (given === 0 ? value : given), z.number().int());

const LABEL_KEY = /^[A-Za-z0-9]([A-Za-z0-9._/-]{0,61}[A-Za-z0-9])?$/;
const LABEL_VALUE = /^[A-Za-z0-9._-]{0,63}$/;

const labels = z
  .record(
    z.string().regex(LABEL_KEY, 'a label key must be 1 to 63 letters, digits, ".", "_", "/" or "-"'),
    z.string().regex(LABEL_VALUE, 'a label value must be at most 63 letters, digits, ".", "_" or "-"'),
  )
  .refine((all) => Object.keys(all).length <= MAX_LABELS, `at most ${MAX_LABELS} labels`);

const memoryMb = orDefault(DEFAULT_MEMORY_MB).refine(
  (value) => value >= MIN_MEMORY_MB,
  `must be at least ${MIN_MEMORY_MB} MB: the agent itself needs that much`,
);
const cpuShares = orDefault(DEFAULT_CPU_WEIGHT).refine(
  (value) => value >= 1 && value <= MAX_CPU_WEIGHT,
  `must be a weight from 1 to ${MAX_CPU_WEIGHT}`,
);
const PIDS_RULE = `must be from ${MIN_PIDS_LIMIT} to ${MAX_PIDS_LIMIT}`;
const pidsLimit = orDefault(DEFAULT_PIDS_LIMIT).refine(
  (value) => value >= MIN_PIDS_LIMIT && value <= MAX_PIDS_LIMIT,
  PIDS_RULE,
);

export const createNodeSchema = z.object({
  name: label("a node's name"),
  memoryMb,
  cpuShares,
  pidsLimit,
  storageSize: z.bigint().transform((given, context) => {
    const value = given === 0n ? BigInt(DEFAULT_STORAGE_BYTES) : given;
    if (value >= BigInt(MIN_STORAGE_BYTES) && value <= BigInt(MAX_STORAGE_BYTES)) return Number(value);
    context.addIssue(
      `must be from ${MIN_STORAGE_BYTES / MIB}M to ${MAX_STORAGE_BYTES / MIB / 1024 / 1024}T; give one, for example 1G`,
    );
    return z.NEVER;
  }),
  image: z.preprocess((given) => (given === '' ? BASE_IMAGE : given), label("an image's name")),
  labels,
});

const unchanged = <Schema extends z.ZodType<number>>(schema: Schema): z.ZodPreprocess<z.ZodOptional<Schema>> =>
  z.preprocess((given) => (given === 0 ? undefined : given), schema.optional());

export const resizeNodeSchema = z
  .object({
    node: z.string(),
    memoryMb: unchanged(z.number().min(MIN_MEMORY_MB, `must be at least ${MIN_MEMORY_MB} MB`)),
    cpuShares: unchanged(z.number().max(MAX_CPU_WEIGHT, `must be a weight from 1 to ${MAX_CPU_WEIGHT}`)),
    pidsLimit: unchanged(z.number().min(MIN_PIDS_LIMIT, PIDS_RULE).max(MAX_PIDS_LIMIT, PIDS_RULE)),
  })
  .refine(
    (value) => value.memoryMb !== undefined || value.cpuShares !== undefined || value.pidsLimit !== undefined,
    'nothing to change: give a new memory, cpu or pids limit',
  );

export const stopNodeSchema = z.object({
  node: z.string(),
  graceMs: z.number().int().max(600_000, 'must be at most 10 minutes'),
});

const terminalCells = z.number().int().min(0).max(10_000);

export const terminalSizeSchema = z.object({ columns: terminalCells.min(1), rows: terminalCells.min(1) });

export const execStartSchema = z.object({
  node: z.string(),
  command: z.array(z.string()).min(1, 'give a command').max(10_000),
  tty: z.boolean(),
  stdin: z.boolean(),
  columns: terminalCells,
  rows: terminalCells,
  env: z.record(z.string().regex(/^[A-Za-z_][A-Za-z0-9_]*$/, 'a variable must be a name'), z.string()),
  uid: z.number().int().max(LARGEST_NODE_ID, `must be at most ${LARGEST_NODE_ID}`),
  workingDir: z.string().refine((path) => path === '' || path.startsWith('/'), 'must be an absolute path'),
});

export const signalSchema = z.string().refine(isSignalName, 'must be a signal such as INT, TERM or HUP');

/** Input of `lambda run` and `lambda invoke`: code, standard input, event, limits. */
import { NexusError } from '../../shared/errors.js';
import type { LambdaInput, LambdaLimits } from '../../shared/gen/nexus/v1/lambda.js';
import { parseDurationMs, parseMemoryMb } from '../runner/arguments.js';
import type { FlagSpecs } from '../runner/command.js';
import type { Context } from '../runner/context.js';
import { openSource } from '../local/source.js';

/** A few MiB: the controller enforces its own limits. */
const MOST_BYTES = 3 * 1024 * 1024;
const DAY_MS = 86_400_000;

export const LIMIT_FLAGS = {
  timeout: {
    type: 'string',
    hint: 'TIME',
    description: 'for example 500ms, 10s, 2m (default 10s)',
    field: 'limits.timeout_ms',
  },
  mem: {
    type: 'string',
    hint: 'SIZE',
    description: 'memory, MB or with a unit (default 128)',
    field: 'limits.memory_mb',
  },
} as const satisfies FlagSpecs;

export const INPUT_FLAGS = {
  event: {
    type: 'string',
    hint: 'JSON',
    description: 'the global `event`, and what handler(event) is called with',
    field: 'input.event',
  },
  stdin: { type: 'boolean', description: 'pass standard input on', field: 'input.stdin' },
  file: {
    type: 'list',
    hint: 'PATH',
    description: 'a file of yours (nexus fs), found at /mnt/PATH',
    field: 'input.files',
  },
  node: { type: 'string', hint: 'NODE', description: 'run it there', field: 'input.node' },
} as const satisfies FlagSpecs;

/** 0: the default from the settings. */
export const limitsOf = (input: {
  readonly timeout: string | undefined;
  readonly mem: string | undefined;
}): LambdaLimits => ({
  timeoutMs: input.timeout === undefined ? 0 : parseDurationMs(input.timeout, 'timeout', DAY_MS),
  memoryMb: input.mem === undefined ? 0 : parseMemoryMb(input.mem),
});

interface InputFlags {
  readonly event: string | undefined;
  readonly stdin: boolean;
  readonly file: readonly string[];
  readonly node: string | undefined;
}

export const inputOf = async (flags: InputFlags, context: Context): Promise<LambdaInput> => ({
  stdin: flags.stdin ? await readAll('-', context) : Buffer.alloc(0),
  event: flags.event,
  files: [...flags.file],
  node: flags.node ?? '',
});

/** `path` may be `-`. Codes: those of openSource; invalid_argument if it is not text, or far too large. */
export async function readCode(path: string, context: Context): Promise<string> {
  const bytes = await readAll(path, context);
  const text = bytes.toString('utf8');
  if (Buffer.from(text, 'utf8').equals(bytes)) return text;
  throw new NexusError('invalid_argument', `${path} is not UTF-8 text; give Python code`);
}

async function readAll(path: string, context: Context): Promise<Buffer> {
  await using source = await openSource(path, context, 'give the path of a file');
  const buffer = Buffer.alloc(MOST_BYTES + 1);
  const size = await source.bytes.fill(buffer);
  if (size > MOST_BYTES) throw new NexusError('invalid_argument', `${path} is larger than ${MOST_BYTES} bytes`);
  return buffer.subarray(0, size);
}

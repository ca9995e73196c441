/** Prints an invocation that comes over gRPC: while it runs, or collected for programs. */
import { NexusError } from '../../shared/errors.js';
import type { LambdaResult } from '../../shared/gen/nexus/v1/lambda.js';
import { withMember } from '../../shared/json-text.js';
import { textOrBase64 } from '../../shared/rpc/shapes.js';
import type { Context } from '../runner/context.js';
import { plainShape } from '../runner/shapes.js';
import { writeTo } from '../terminal/streams.js';
import { escaped } from '../terminal/visible.js';

interface Part {
  readonly stdout?: Uint8Array | undefined;
  readonly stderr?: Uint8Array | undefined;
  readonly result?: LambdaResult | undefined;
}

const NEWLINE = 0x0a;

/**
 * Shows one invocation and returns its exit code. People see its output while it runs, and then its handler's result on
 * a line of its own; programs receive the two separately.
 */
export async function showInvocation(parts: AsyncIterable<Part>, context: Context): Promise<number> {
  const isForPeople = context.output === 'table';
  const collected = { stdout: [] as Uint8Array[], stderr: [] as Uint8Array[] };
  let result: LambdaResult | undefined;
  let last = NEWLINE;
  for await (const part of parts) {
    result = part.result ?? result;
    for (const stream of ['stdout', 'stderr'] as const) {
      const data = part[stream];
      if (data === undefined) continue;
      if (stream === 'stdout') last = data.at(-1) ?? last;
      if (isForPeople) await writeTo(context.streams[stream], data, context.signal);
      else collected[stream].push(data);
    }
  }
  context.throwIfInterrupted();
  if (result === undefined) throw new NexusError('internal', 'the controller answered without a result');
  const { result: returned, ...rest } = result;
  if (isForPeople) {
    if (returned !== undefined) {
      const line = `${last === NEWLINE ? '' : '\n'}${returned}\n`;
      await writeTo(context.streams.stdout, line, context.signal);
    }
    tell(result, context);
  } else {
    const output = { ...textOrBase64('stdout', collected.stdout), ...textOrBase64('stderr', collected.stderr) };
    const text = await document({ ...output, ...plainShape(rest) }, returned, context.output);
    await writeTo(context.streams.stdout, `${text}\n`);
  }
  return result.exitCode;
}

/** Renders an invocation for programs. The result stays as the code wrote it; JSON is valid YAML, too. */
async function document(shown: object, returned: string | undefined, format: 'json' | 'yaml'): Promise<string> {
  const { render } = await import('../terminal/output.js');
  const text = render(shown, format);
  if (returned === undefined) return text;
  const shownResult = escaped(returned);
  return format === 'json' ? withMember(text, 'result', shownResult) : `${text}\nresult: ${shownResult}`;
}

function tell(result: LambdaResult, context: Context): void {
  const why = EXPLAINED[result.reason];
  if (why !== undefined)
    context.note(`nexus: ${why} (${Math.round(result.executionTimeMs)} ms on node ${result.node})`);
}

const EXPLAINED: Readonly<Record<string, string>> = {
  timeout: 'the code was ended at its time limit; give it more with --timeout',
  out_of_memory: 'the code was ended at its memory limit; give it more with --mem',
  output_limit: 'the code was ended at the limit of its output; let it print or return less',
};

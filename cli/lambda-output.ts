/** An invocation as it comes over gRPC: written out while it runs, or collected for programs. */
import { NexusError } from '../shared/errors.js';
import type { LambdaResult } from '../shared/gen/nexus/v1/lambda.js';
import type { Context } from './context.js';
import { textOrBase64 } from '../shared/rpc/shapes.js';
import { plainShape } from './shapes.js';
import { writeTo } from './streams.js';

interface Part {
  readonly stdout?: Uint8Array | undefined;
  readonly stderr?: Uint8Array | undefined;
  readonly result?: LambdaResult | undefined;
}

/** As timeout(1) has it. */
const TIMED_OUT = 124;
/** As a shell counts SIGKILL: what the sandbox was ended with. */
const KILLED = 137;

/**
 * Shows one invocation and answers the exit code of the CLI: the code's own, 124 after a timeout, 137 when it was ended for
 * memory or output.
 */
export async function showInvocation(parts: AsyncIterable<Part>, context: Context): Promise<number> {
  const isForPeople = context.output === 'table';
  const collected = { stdout: [] as Uint8Array[], stderr: [] as Uint8Array[] };
  let result: LambdaResult | undefined;
  for await (const part of parts) {
    result = part.result ?? result;
    for (const stream of ['stdout', 'stderr'] as const) {
      const data = part[stream];
      if (data === undefined) continue;
      if (isForPeople) await writeTo(context.streams[stream], data, context.signal);
      else collected[stream].push(data);
    }
  }
  context.throwIfInterrupted();
  if (result === undefined) throw new NexusError('internal', 'the controller answered without a result');
  if (isForPeople) tell(result, context);
  else
    await context.print(
      {
        ...textOrBase64('stdout', collected.stdout),
        ...textOrBase64('stderr', collected.stderr),
        ...plainShape(result),
      },
      () => '',
    );
  return exitCodeFor(result);
}

function tell(result: LambdaResult, context: Context): void {
  const why = EXPLAINED[result.reason];
  if (why !== undefined)
    context.note(`nexus: ${why} (${Math.round(result.executionTimeMs)} ms on node ${result.node})`);
}

const EXPLAINED: Readonly<Record<string, string>> = {
  timeout: 'the code was ended at its time limit; give it more with --timeout',
  out_of_memory: 'the code was ended at its memory limit; give it more with --mem',
  output_limit: 'the code was ended at the limit of its output; let it print less',
};

function exitCodeFor({ reason, exitCode }: LambdaResult): number {
  if (reason === 'exit') return exitCode;
  return reason === 'timeout' ? TIMED_OUT : KILLED;
}

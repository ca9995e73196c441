/** `nexus lambda deploy`, `invoke`, `ls`, `rm` and `logs`: code under a name, in its owner's file system. */
import { NexusError } from '../../shared/errors.js';
import type { FunctionLog, LambdaFunction } from '../../shared/gen/nexus/v1/lambda.js';
import { parseInteger } from '../runner/arguments.js';
import { command } from '../runner/command.js';
import type { Context } from '../runner/context.js';
import { INPUT_FLAGS, inputOf, LIMIT_FLAGS, limitsOf, readCode } from './input.js';
import { textOrBase64 } from '../../shared/rpc/shapes.js';
import { showInvocation } from './output.js';
import { facts, table, visible, widthOf } from '../terminal/output.js';
import { onEach } from '../runner/several.js';
import { plainShape, type Shape } from '../runner/shapes.js';
import { writeTo } from '../terminal/streams.js';

const NAME = { description: 'lower-case letters, digits and -' };
const MOST_LOGS = 100;

export const deploy = command({
  summary: 'store code under a name',
  details:
    'The code lies in your file system under /.functions/NAME, one file per version. It counts against your quota.',
  positionals: { name: NAME, code: { description: 'Python code, or - for standard input' } },
  flags: LIMIT_FLAGS,
  examples: [
    ['nexus lambda deploy resize resize.py', 'the same code again is the same version'],
    ['nexus lambda deploy report report.py --timeout 1m --mem 256', 'with limits of its own'],
  ],
  run: async (input, context) => {
    const code = await readCode(input.code, context);
    const { lambda, call } = await context.connect();
    const request = { name: input.name, code, limits: limitsOf(input) };
    const { function: deployed } = await call(lambda, lambda.deployFunction, request);
    if (deployed === undefined) throw new NexusError('internal', 'the controller answered without a function');
    await context.print(functionShape(deployed), () => functionFacts(deployed));
    return 0;
  },
});

export const invoke = command({
  summary: 'run a function',
  details:
    'Calls handler(event) where the code defines it, and prints what it returns as JSON on a line of its own. Exits as lambda run does.',
  positionals: { name: NAME },
  flags: INPUT_FLAGS,
  examples: [['nexus lambda invoke resize --event \'{"width": 100}\'', 'with an event']],
  run: async (input, context) => {
    const request = { name: input.name, input: await inputOf(input, context) };
    const { lambda, messages } = await context.connect();
    return await showInvocation(messages(lambda.invokeFunction(request)), context);
  },
});

export const list = command({
  summary: 'list your functions',
  positionals: {},
  flags: {},
  examples: [['nexus lambda ls -o json', 'for programs']],
  run: async (_input, context) => {
    const { lambda, call } = await context.connect();
    const { functions } = await call(lambda, lambda.listFunctions, {});
    await context.print(functions.map(functionShape), () => asTable(functions, context));
    if (context.output === 'table')
      for (const { problem } of functions) if (problem !== '') context.note(`nexus: ${problem}`);
    return 0;
  },
});

export const remove = command({
  summary: 'remove functions with all their versions',
  details: 'With several names, each is tried, and every failure is reported.',
  positionals: { names: { ...NAME, description: 'names of functions', many: true, field: 'name' } },
  flags: {},
  examples: [
    ['nexus lambda rm resize', 'its code and its logs'],
    ['nexus lambda rm resize crop', 'both'],
  ],
  run: async ({ names }, context) => {
    const { lambda, call } = await context.connect();
    return await onEach(
      context,
      names,
      async (name) => {
        await call(lambda, lambda.removeFunction, { name });
        return { name };
      },
      { shape: (removed) => removed, text: ({ name }) => `removed ${name}` },
    );
  },
});

export const logs = command({
  summary: 'the last invocations of a function',
  details: 'Kept in memory since the controller started: of each the last 8 KB of its output and of its result.',
  positionals: { name: NAME },
  flags: { limit: { type: 'string', short: 'n', hint: 'N', description: 'how many, 20 by default', field: 'limit' } },
  examples: [['nexus lambda logs resize -n 5', 'the last five, oldest first']],
  run: async (input, context) => {
    const limit = input.limit === undefined ? 0 : parseInteger(input.limit, 'limit', 1, MOST_LOGS);
    const { lambda, call } = await context.connect();
    const { logs: found } = await call(lambda, lambda.getFunctionLogs, { name: input.name, limit });
    if (context.output !== 'table') await context.print(found.map(logShape), () => '');
    else for (const log of found) await showLog(log, context);
    return 0;
  },
});

const functionShape = (one: LambdaFunction): Shape => plainShape(one);

const logShape = ({ output, result, ...rest }: FunctionLog): Shape => ({
  ...plainShape(rest),
  ...plainShape(result ?? {}),
  ...textOrBase64('output', [output]),
});

const functionFacts = ({ name, version, size, timeoutMs, memoryMb, versions }: LambdaFunction): string =>
  facts([
    ['name', name],
    ['version', `${version} (${versions} kept)`],
    ['size', `${size} bytes`],
    ['limits', `${timeoutMs} ms, ${memoryMb} MB`],
  ]);

const asTable = (functions: readonly LambdaFunction[], { streams }: Context): string =>
  table(
    [
      { title: 'NAME', flexible: 'anywhere', least: 40 },
      { title: 'VERSION' },
      { title: 'MEMORY', leaveOut: 2, right: true },
      { title: 'TIMEOUT', leaveOut: 3, right: true },
      { title: 'DEPLOYED', leaveOut: 1 },
    ],
    functions.map(({ name, version, memoryMb, timeoutMs, deployedAt, problem }) =>
      problem === '' ? [name, version, `${memoryMb}M`, `${timeoutMs} ms`, deployedAt] : [name, 'broken', '', '', ''],
    ),
    widthOf(streams.stdout),
  );

async function showLog({ at, version, result, output }: FunctionLog, { streams, signal }: Context): Promise<void> {
  const end =
    result === undefined
      ? ''
      : `${result.reason} ${result.exitCode}, ${Math.round(result.executionTimeMs)} ms on ${result.node}`;
  // Somebody's output: it must not steer the terminal, but it has lines.
  const lines = Buffer.from(output).toString('utf8').split('\n').filter(Boolean);
  const text = [`${at}  ${version}  ${end}`, ...lines.map((line) => `  ${visible(line)}`)].join('\n');
  await writeTo(streams.stdout, `${text}\n`, signal);
}

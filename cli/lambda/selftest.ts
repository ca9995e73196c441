/** `nexus lambda selftest`: attacks real sandboxes; each row reports what was tried and what stopped it. */
import { NexusError, toNexusError } from '../../shared/errors.js';
import { command } from '../runner/command.js';
import type { Controller } from '../connect/connection.js';
import type { Attack, Step, StepResult } from './selftest/attack.js';
import { FILES, KERNEL, NETWORK } from './selftest/beyond.js';
import { EXHAUSTION } from './selftest/exhaustion.js';
import { PROCESSES, TRACES } from './selftest/within.js';
import { table, widthOf } from '../terminal/output.js';

const ATTACKS: readonly Attack[] = [...FILES, ...KERNEL, ...NETWORK, ...PROCESSES, ...EXHAUSTION, ...TRACES];

export const selftest = command({
  summary: 'try to break out of a sandbox',
  details: 'Runs real attacks in sandboxes of this cluster. Exits with 1 when one of them gets through.',
  positionals: {},
  flags: { only: { type: 'string', hint: 'TEXT', description: 'only attacks whose name holds it' } },
  examples: [
    ['nexus lambda selftest', 'all of them, under a minute'],
    ['nexus lambda selftest --only sockets', 'one of them'],
  ],
  run: async (input, context) => {
    const attacks = ATTACKS.filter(({ name }) => name.includes(input.only ?? ''));
    if (attacks.length === 0) throw new NexusError('not_found', `no attack has "${input.only ?? ''}" in its name`);
    const controller = await context.connect();
    const rows: Row[] = [];
    for (const attack of attacks) {
      context.throwIfInterrupted();
      rows.push(await carryOut(controller, attack));
    }
    await context.print(rows, () => asTable(rows, widthOf(context.streams.stdout)));
    const through = rows.filter(({ held }) => !held).length;
    context.note(`${rows.length - through} of ${rows.length} attacks were stopped`);
    return through === 0 ? 0 : 1;
  },
});

interface Row {
  readonly name: string;
  readonly tried: string;
  readonly held: boolean;
  readonly by: string;
}

async function carryOut(controller: Controller, attack: Attack): Promise<Row> {
  const results: StepResult[] = [];
  const { name, tried } = attack;
  try {
    for (const step of attack.steps) results.push(await runStep(controller, step));
    return { name, tried, ...attack.judge(results) };
  } catch (error) {
    // Any other error concerns the whole cluster: every further attack would only repeat it.
    const { code, message } = toNexusError(error);
    if (code !== 'unavailable') throw error;
    return { name, tried, held: false, by: `not carried out: ${message}` };
  }
}

async function runStep({ lambda, messages }: Controller, step: Step): Promise<StepResult> {
  const limits = { timeoutMs: step.timeoutMs ?? 0, memoryMb: step.memoryMb ?? 0 };
  const said = { stdout: [] as Uint8Array[], stderr: [] as Uint8Array[] };
  const request = { code: step.code, runtime: 'python3', limits, input: undefined };
  for await (const { stdout, stderr, result } of messages(lambda.runLambda(request))) {
    if (stdout !== undefined) said.stdout.push(stdout);
    if (stderr !== undefined) said.stderr.push(stderr);
    if (result !== undefined) {
      const text = (pieces: Uint8Array[]): string => Buffer.concat(pieces).toString('utf8');
      return { ...result, stdout: text(said.stdout), stderr: text(said.stderr) };
    }
  }
  throw new NexusError('cancelled', 'interrupted');
}

const asTable = (rows: readonly Row[], width: number): string =>
  table(
    [
      { title: 'ATTACK' },
      { title: 'RESULT' },
      { title: 'TRIED', leaveOut: 1, least: 24, flexible: 'words' },
      { title: 'STOPPED BY', least: 20, flexible: 'words' },
    ],
    rows.map(({ name, tried, held, by }) => [name, held ? 'stopped' : 'GOT THROUGH', tried, by]),
    width,
  );

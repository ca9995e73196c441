/** `nexus lambda selftest`: attacks real sandboxes; each row reports what was tried and what stopped it. */
import { NexusError } from '../../shared/errors.js';
import { command } from '../runner/command.js';
import type { Controller } from '../connect/connection.js';
import type { Attack, Step, StepResult } from './selftest/attack.js';
import { FILES, KERNEL, NETWORK } from './selftest/beyond.js';
import { EXHAUSTION } from './selftest/exhaustion.js';
import { PROCESSES, TRACES } from './selftest/within.js';
import { carryOut, chosen, ONLY, printRows, type Row } from '../selftest/rows.js';

const ATTACKS: readonly Attack[] = [...FILES, ...KERNEL, ...NETWORK, ...PROCESSES, ...EXHAUSTION, ...TRACES];

export const selftest = command({
  summary: 'try to break out of a sandbox',
  details: 'Runs real attacks in sandboxes of this cluster. Exits with 1 when one of them gets through.',
  positionals: {},
  flags: { only: ONLY },
  examples: [
    ['nexus lambda selftest', 'all of them, under a minute'],
    ['nexus lambda selftest --only sockets', 'one of them'],
  ],
  run: async (input, context) => {
    const attacks = chosen(ATTACKS, input.only);
    const controller = await context.connect();
    const rows: Row[] = [];
    for (const attack of attacks) {
      context.throwIfInterrupted();
      rows.push(await carryOut(attack, (step) => runStep(controller, step)));
    }
    return await printRows(context, rows);
  },
});

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

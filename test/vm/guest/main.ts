/**
 * Runs the checks inside the guest, in their order, and reports each as a line of JSON on a serial port of its own: the
 * console's lines are mixed with the kernel's. Those after a failed one that they build on are reported as not reached.
 */
import { appendFileSync } from 'node:fs';
import { AssertionError } from 'chai';
import { encodeReport, type CheckReport } from '../report.js';
import { CHECKS, type Check } from './checks.js';
import { Guest } from './guest.js';

async function run(check: Check, guest: Guest): Promise<CheckReport> {
  const startedAt = performance.now();
  const failure = await check.run(guest).then(
    () => undefined,
    async (error: unknown) => `${described(error)}\n${await guest.findings()}`,
  );
  return { check: check.name, failure, durationMs: Math.round(performance.now() - startedAt) };
}

/** An assertion's own message cuts what it compared short. */
function described(error: unknown): string {
  if (!(error instanceof Error)) return String(error);
  const compared = error instanceof AssertionError ? `\n${JSON.stringify(error, undefined, 1)}` : '';
  return `${error.stack ?? error.message}${compared}`;
}

async function main(port: string): Promise<void> {
  const isShort = process.env['NEXUS_VM_SHORT'] === '1';
  const guest = new Guest();
  let broken: string | undefined;
  for (const check of CHECKS.filter((candidate) => candidate.isShort === true || !isShort)) {
    const failure = `not reached: "${broken}" failed`;
    const reported = broken === undefined ? await run(check, guest) : { check: check.name, failure, durationMs: 0 };
    if (reported.failure !== undefined && check.isBase === true) broken ??= check.name;
    process.stdout.write(`vm: ${check.name}: ${reported.failure ?? 'ok'} (${reported.durationMs} ms)\n`);
    appendFileSync(port, encodeReport(reported));
  }
}

await main(process.argv[2] ?? '/dev/stdout');

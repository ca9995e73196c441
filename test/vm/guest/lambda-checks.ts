/** Sandboxes where v2 alone bounds them: below their node, ended as a whole, and held against every attack. */
import { readdirSync, writeFileSync } from 'node:fs';
import { expect } from 'chai';
import { eventually, type Guest } from './guest.js';

interface Ran {
  readonly stdout: string;
  readonly reason: string;
  readonly exit_code: number;
  readonly peak_memory_bytes: number;
}

const CODE = '/tmp/lambda.py';

async function runCode(guest: Guest, code: string, ...flags: string[]): Promise<Ran> {
  writeFileSync(CODE, code);
  const { stdout, stderr } = await guest.run('lambda', 'run', CODE, '--node', 'a', '--output', 'json', ...flags);
  expect(stdout, stderr).not.to.equal('');
  return JSON.parse(stdout) as Ran;
}

/** The parent lives on unless the kernel ends its whole group with the child. */
const GREEDY_CHILD = `
import os, time
if os.fork() == 0:
  pages = []
  while True: pages.append(bytearray(1 << 20))
os.wait()
print("survived", flush=True)
`;

export async function runLambda(guest: Guest): Promise<void> {
  expect(await runCode(guest, 'print(6 * 7)')).to.include({ stdout: '42\n', reason: 'exit', exit_code: 0 });
  const greedy = await runCode(guest, GREEDY_CHILD, '--mem', '32');
  expect(greedy).to.include({ stdout: '', reason: 'out_of_memory', exit_code: 137 });
  expect(greedy.peak_memory_bytes).to.be.at.most(32 * 1024 * 1024);
  // Those that wait are children of their nodes, too; no other is left.
  // One after the other: two commands at once outlast each other's patience there.
  const nodes = [await guest.inspect('a'), await guest.inspect('b')];
  const sandboxes = (): string[] =>
    nodes.flatMap((node) => readdirSync(guest.cgroupPath(node))).filter((name) => name.startsWith('lambda-'));
  await eventually(
    async () => ({ ...(await guest.json<{ pool_ready: number }>('lambda', 'stats')), sandboxes: sandboxes() }),
    (seen) => seen.pool_ready > 0 && seen.pool_ready === seen.sandboxes.length,
    120_000,
  );
}

export const holdAttacks = (guest: Guest): Promise<void> => attack(guest, 'lambda', 40);

/** On nodes of its own. */
export const holdAttacksOfRoot = (guest: Guest): Promise<void> => attack(guest, 'node', 70);

async function attack(guest: Guest, noun: string, least: number): Promise<void> {
  const { stdout, stderr } = await guest.run(noun, 'selftest', '--output', 'json');
  const rows = JSON.parse(stdout === '' ? '[]' : stdout) as { name: string; held: boolean; by: string }[];
  expect(rows.length, stderr).to.be.at.least(least);
  expect(rows.filter(({ held }) => !held)).to.deep.equal([]);
}

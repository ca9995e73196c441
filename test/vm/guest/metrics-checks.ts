/** The figures of a node against a process whose needs are known. */
import { expect } from 'chai';
import { MIB } from '../../../shared/limits.js';
import { eventually, type Guest } from './guest.js';
import { NODE } from './node-checks.js';

interface MetricsJson {
  readonly cpu_percent: number;
  readonly memory_usage: number;
  readonly memory_working_set: number;
  readonly memory_limit: number;
  readonly pids: number;
}

/** Holds 100 MB and uses half a core, whatever else runs: it works until it has had half of the time that went by. */
const BURNER = `
import time
held = bytearray(100 * 1024 * 1024)
for at in range(0, len(held), 4096): held[at] = 1
start = time.monotonic()
print('ready', flush=True)
while True:
    while time.process_time() < (time.monotonic() - start) / 2: pass
    time.sleep(0.02)
`;

export async function countUse(guest: Guest): Promise<void> {
  const latest = (): Promise<MetricsJson> => guest.json<MetricsJson>('metrics', 'b');
  const idle = await latest();
  expect(idle.memory_limit).to.equal(NODE.memoryMb * MIB);
  expect(idle.memory_working_set).to.be.greaterThan(MIB).and.at.most(idle.memory_usage);
  expect(idle.pids).to.be.greaterThan(1);
  const burner = guest.start(['node', 'exec', 'b', '--', 'python3', '-c', BURNER]);
  try {
    await eventually(burner.said, (said) => said.includes('ready'), 120_000);
    const seen = await eventually(
      latest,
      ({ cpu_percent: cpu, memory_working_set: memory }) =>
        cpu > 40 && cpu < 75 && memory > idle.memory_working_set + 95 * MIB,
      180_000,
    );
    expect(seen.memory_working_set).to.be.lessThan(idle.memory_working_set + 130 * MIB);
  } finally {
    burner.stop();
    await burner.result;
  }
}

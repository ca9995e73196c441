import { expect } from 'chai';
import { appendFileSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, statSync } from 'node:fs';
import { open } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { boundLogs, removeLogs } from '../../controller/node/log-bounds.js';
import type { NodeId } from '../../shared/ids.js';
import { MIB } from '../../shared/limits.js';

const NODE = '0123456789ab' as NodeId;
const OTHER = 'ba9876543210' as NodeId;

describe('logs that others write', () => {
  it('begin anew when they are full, while they are written, and go with their node', async () => {
    const folder = mkdtempSync(join(tmpdir(), 'nexus-bounds-'));
    const settings = { stateDir: folder, runDir: join(folder, 'run'), logMaxMb: 1, logFiles: 2 };
    const logs = join(folder, 'logs');
    for (const path of [logs, join(folder, 'run', 'nats.d')]) mkdirSync(path, { recursive: true });
    const natsLog = join(folder, 'run', 'nats.d', 'nats.log');
    const writer = await open(join(logs, `${NODE}.log`), 'a');
    try {
      for (const round of ['first', 'second', 'third']) {
        await writer.appendFile(`${round}\n${'x'.repeat(MIB)}\n`);
        appendFileSync(natsLog, 'x'.repeat(2 * MIB));
        await boundLogs(settings, [NODE, OTHER]);
      }
      await writer.appendFile('the last\n');
      appendFileSync(join(logs, `${OTHER}.log`), 'of the other\n');
      expect(readFileSync(join(logs, `${NODE}.log`), 'utf8')).to.equal('the last\n');
      expect(readFileSync(join(logs, `${NODE}.log.1`), 'utf8')).to.match(/^third\n/);
      expect(readdirSync(logs).sort()).to.deep.equal([`${NODE}.log`, `${NODE}.log.1`, `${OTHER}.log`]);
      expect(statSync(natsLog).size).to.equal(0);
      await removeLogs(settings, NODE);
      expect(readdirSync(logs)).to.deep.equal([`${OTHER}.log`]);
    } finally {
      await writer.close();
      rmSync(folder, { recursive: true });
    }
  });
});

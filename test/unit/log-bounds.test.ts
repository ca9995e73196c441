import { expect } from 'chai';
import {
  appendFileSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { open } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { boundLogs, removeLogs } from '../../controller/node/watch/log-bounds.js';
import { logRecord } from '../../controller/node/paths.js';
import type { NodeId } from '../../shared/ids.js';
import { MIB } from '../../shared/limits.js';

const NODE = '0123456789ab' as NodeId;
const OTHER = 'ba9876543210' as NodeId;

describe('logs of nodes that an earlier version has started', () => {
  it('begin anew when they are full, while they are written, and go with their node', async () => {
    const folder = mkdtempSync(join(tmpdir(), 'nexus-bounds-'));
    const settings = { stateDir: folder, runDir: join(folder, 'run'), logMaxMb: 1, logFiles: 2 };
    const logs = join(folder, 'logs');
    for (const path of [logs, join(folder, 'run', OTHER)]) mkdirSync(path, { recursive: true });
    // The other one's log is kept within its bound by the one who writes it.
    writeFileSync(logRecord(settings, OTHER), '');
    const written = new Set<NodeId>();
    const writer = await open(join(logs, `${NODE}.log`), 'a');
    try {
      for (const round of ['first', 'second', 'third']) {
        await writer.appendFile(`${round}\n${'x'.repeat(MIB)}\n`);
        appendFileSync(join(logs, `${OTHER}.log`), 'x'.repeat(MIB));
        await boundLogs(settings, [NODE, OTHER], written);
      }
      await writer.appendFile('the last\n');
      expect(readFileSync(join(logs, `${NODE}.log`), 'utf8')).to.equal('the last\n');
      expect(readFileSync(join(logs, `${NODE}.log.1`), 'utf8')).to.match(/^third\n/);
      expect(readdirSync(logs).sort()).to.deep.equal([`${NODE}.log`, `${NODE}.log.1`, `${OTHER}.log`]);
      expect(statSync(join(logs, `${OTHER}.log`)).size).to.equal(3 * MIB);
      await removeLogs(settings, NODE);
      expect(readdirSync(logs)).to.deep.equal([`${OTHER}.log`]);
    } finally {
      await writer.close();
      rmSync(folder, { recursive: true });
    }
  });
});

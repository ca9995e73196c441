import { expect } from 'chai';
import { checkHeartbeat, checkReport } from '../../controller/node/watch/agent-messages.js';
import { checkChunk } from '../../controller/node/chunk-page.js';
import { AgentHeartbeat, AgentReport, StoredChunk } from '../../shared/gen/nexus/v1/agent.js';
import type { NodeId } from '../../shared/ids.js';
import { plainText } from '../../shared/plain-text.js';

const NODE = '0123456789ab' as NodeId;
const NOW = 1_795_507_200_000;
const report = (change: Partial<AgentReport> = {}): AgentReport =>
  AgentReport.fromPartial({
    atMs: BigInt(NOW),
    volumeTotalBytes: 100n,
    volumeFreeBytes: 40n,
    volumeUsedBytes: 60n,
    volumeState: 'ok',
    ...change,
  });
const heartbeat = (change: Partial<AgentHeartbeat> = {}): AgentHeartbeat =>
  AgentHeartbeat.fromPartial({ nodeId: NODE, agentInstance: 'beef', version: '0.1.0', ...change });

describe('what an agent says', () => {
  it('is taken as it is when it can be true, also of an agent that tells less', () => {
    expect(checkReport(report(), NOW)).to.deep.equal({ message: report(), fault: undefined });
    expect(checkReport(AgentReport.fromPartial({ atMs: 7n, chunks: 3n }), NOW).fault).to.equal(undefined);
    expect(checkReport(report({ atMs: BigInt(NOW + 30_000) }), NOW).fault).to.equal(undefined);
    expect(checkHeartbeat(NODE, heartbeat(), NOW).fault).to.equal(undefined);
  });

  for (const [what, change, fault] of [
    ['a time beyond all calendars', { atMs: 2n ** 64n - 1n }, /more than there can be/],
    ['a time in the future', { atMs: BigInt(NOW + 120_000) }, /future/],
    ['a counter beyond all counting', { networkRxBytes: 2n ** 63n }, /networkRxBytes/],
    ['more free room than there is', { volumeFreeBytes: 101n }, /free than there is/],
    ['more used room than there is', { volumeUsedBytes: 101n }, /used than there is/],
    ['more free inodes than there are', { volumeFreeInodes: 1n }, /inodes/],
    ['a state that is no word', { volumeState: '\u001b[2J' }, /malformed/],
  ] as const) {
    it(`is rejected when it is a report with ${what}`, () => {
      expect(checkReport(report(change), NOW).fault).to.match(fault);
    });
  }

  for (const [what, change, fault] of [
    ['of another node', { nodeId: 'ffffffffffff' }, /id of another node: ffffffffffff/],
    ['with a page for a version', { version: 'x'.repeat(1000) }, /malformed/],
    ['with a key that is none', { receiptPublicKey: Buffer.alloc(31) }, /31 bytes/],
    ['from the future', { startedAtMs: 2n ** 64n - 1n }, /future/],
    ['whose next one is an hour away', { intervalMs: 3_600_000 }, /3600000 ms apart/],
  ] as const) {
    it(`is rejected when it is a heartbeat ${what}`, () => {
      expect(checkHeartbeat(NODE, heartbeat(change), NOW).fault).to.match(fault);
    });
  }

  it('has no control characters in its texts, and no pages', () => {
    const { message } = checkReport(report({ volumeReason: `\u001b]0;x\u0007\u202e${'y'.repeat(9000)}` }), NOW);
    expect(message?.volumeReason)
      .to.match(/^\?\]0;x\?\?y+…$/)
      .and.have.length(500);
    expect(plainText('as it is, ä', 100)).to.equal('as it is, ä');
  });

  it('is one damaged entry of a list where it makes no sense, and not the end of the list', () => {
    const whole = StoredChunk.fromPartial({ chunkId: 'a'.repeat(32), size: 5n, md5: 'b'.repeat(32) });
    expect(checkChunk(whole)).to.deep.equal(whole);
    for (const change of [
      { size: 2n ** 64n - 1n },
      { md5: '../../etc' },
      { origin: { ...ORIGIN, expectedBytes: 2n ** 60n } },
      { origin: { ...ORIGIN, owner: 'eve\n' } },
      { origin: { ...ORIGIN, createdAtMs: 2n ** 62n } },
      { origin: { ...ORIGIN, name: 'x'.repeat(256) } },
    ]) {
      const checked = checkChunk({ ...whole, ...change });
      expect(checked).to.include({ chunkId: whole.chunkId, size: 0n, md5: '', origin: undefined });
      expect(checked.damage).to.match(/entry that its agent reported/);
    }
  });
});

const ORIGIN = {
  fileId: 'ab'.repeat(8),
  index: 0,
  name: 'report.pdf',
  owner: 'eve',
  replicas: 2,
  expectedBytes: 5n,
  createdAtMs: 1n,
};

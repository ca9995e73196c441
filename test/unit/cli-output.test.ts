/** Tables on a terminal: nothing wraps, and what matters is what stays. */
import { expect } from 'chai';
import { eventLines, nodeLines } from '../../cli/status-page.js';
import { nodeTable } from '../../cli/node-text.js';
import { folded, table } from '../../cli/output.js';
import type { Event } from '../../shared/gen/nexus/v1/cluster.js';
import { Node } from '../../shared/gen/nexus/v1/node.js';
import { NodeMetrics } from '../../shared/gen/nexus/v1/metrics.js';
import { GIB } from '../../shared/limits.js';

const WIDTHS = [60, 80, 120];
const node = (name: string): Node =>
  Node.fromPartial({
    id: '0123456789ab',
    name,
    status: 'Suspect',
    cordoned: true,
    ip: '10.123.233.142',
    memoryMb: 16384,
    cpuShares: 10_000,
    storageSize: BigInt(10 * GIB),
    createdAt: '2026-01-01T00:00:00.000Z',
    statusReason: 'its agent has been silent for 4 seconds; see nexus agent inspect',
  });
const metrics = NodeMetrics.fromPartial({
  cpuPercent: 123.4,
  memoryWorkingSet: 10_000_000_000n,
  memoryLimit: 17_000_000_000n,
  volumeUsed: 10_000_000_000n,
  volumeTotal: 17_000_000_000n,
  chunks: 123_456n,
});
const event: Event = {
  id: 1n,
  at: '2026-01-01T00:00:00.000Z',
  type: 'file.under_replicated',
  subject: '0123456789abcdef',
  message: 'a message that says what happened, and that is far longer than any terminal of people is wide these days',
};
const widest = (text: string): number => Math.max(...text.split('\n').map((line) => line.length));

describe('tables on a terminal', () => {
  for (const width of WIDTHS) {
    it(`fit ${width} columns`, () => {
      const nodes = ['web-1', 'a-node-with-a-name-of-more-than-twenty-letters'].map(node);
      const texts = [
        nodeTable(nodes, width),
        nodeLines(
          nodes.map((one) => ({ node: one, metrics })),
          width,
        ).join('\n'),
        eventLines([event], width).join('\n'),
      ];
      for (const text of texts) expect(widest(text), text).to.be.at.most(width);
      expect(texts[0])
        .to.match(/web-1 .*Suspect,cordoned/)
        .and.include('its agent has been');
      expect(texts[2]).to.include('a message that says what happened');
    });
  }

  it('are whole where no terminal is', () => {
    const text = nodeTable([node('web-1')], Number.POSITIVE_INFINITY);
    expect(text)
      .to.match(/^NAME +ID +STATUS +IP +MEM +CPU +STORAGE +AGE +REASON\n/)
      .and.include('see nexus agent inspect');
  });

  it('leave out what says least first, and no more than they must', () => {
    const columns = [
      { title: 'A', leaveOut: 2 },
      { title: 'B', leaveOut: 1 },
      { title: 'C', flexible: true, least: 10 },
    ] as const;
    const rows = [['aaaa', 'bbbb', 'c'.repeat(30)]];
    expect(table(columns, rows, 44)).to.match(/^A +B +C\n/);
    expect(table(columns, rows, 24)).to.match(/^A +B +C\n.*c…$/);
    expect(table(columns, rows, 23)).to.match(/^A +C\n.*c…$/);
    expect(table(columns, rows, 16)).to.match(/^C\nc{15}…$/);
  });

  it('are followed by prose that is broken between words', () => {
    expect(folded('warning: one two three', 14, '  ')).to.equal('warning: one\n  two three');
    expect(folded('one two', Number.POSITIVE_INFINITY, '  ')).to.equal('one two');
  });
});

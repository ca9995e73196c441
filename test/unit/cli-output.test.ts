/** Tables on a terminal: nothing wraps, and what matters is what stays. */
import { expect } from 'chai';
import fc from 'fast-check';
import { eventLines, nodeLines } from '../../cli/cluster/status-page.js';
import { nodeTable } from '../../cli/node/node-text.js';
import { COMMANDS } from '../../cli/runner/command-tree.js';
import { isGroup, listed, type Group } from '../../cli/runner/command-group.js';
import { commandHelp, groupHelp } from '../../cli/runner/help-text.js';
import { usersTable } from '../../cli/user/user-text.js';
import { facts, table } from '../../cli/terminal/output.js';
import { broken, cellsOf, cut, folded } from '../../cli/terminal/text-width.js';
import type { Event } from '../../shared/gen/nexus/v1/cluster.js';
import { User } from '../../shared/gen/nexus/v1/identity.js';
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
const widest = (text: string): number => Math.max(...text.split('\n').map((line) => cellsOf(line)));

async function* helpTexts(group: Group, words: string, width: number): AsyncGenerator<string> {
  yield groupHelp(group, words, width);
  for (const [word, entry] of listed(group)) {
    if (isGroup(entry)) yield* helpTexts(entry, `${words} ${word}`, width);
    else yield commandHelp(await entry.load(), `${words} ${word}`, width);
  }
}

describe('help on a terminal', () => {
  for (const width of WIDTHS) {
    it(`fits ${width} columns`, async () => {
      for await (const text of helpTexts(COMMANDS, 'nexus', width)) {
        const [wide] = text.split('\n').filter((line) => cellsOf(line) > width && line.trim().includes(' '));
        expect(wide, text).to.equal(undefined);
      }
    });
  }

  it('has an example of each command', async () => {
    for await (const text of helpTexts(COMMANDS, 'nexus', 80))
      expect(text).to.match(/\nExamples:\n {2}\S|\nHelp for a command/);
  });
});

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
        .and.match(/a-node.*letters/)
        .and.include('nexus');
      for (const word of event.message.split(' ')) expect(texts[2]).to.include(word);
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
      { title: 'C', flexible: 'end', least: 10 },
    ] as const;
    const rows = [['aaaa', 'bbbb', 'c'.repeat(30)]];
    expect(table(columns, rows, 44)).to.match(/^A +B +C\n/);
    expect(table(columns, rows, 24)).to.match(/^A +B +C\n.*c…$/);
    expect(table(columns, rows, 23)).to.match(/^A +C\n.*c…$/);
    expect(table(columns, rows, 16)).to.match(/^C\nc{15}…$/);
  });

  it('hold a name that is too long to be read in one line whole, or with both its ends where an id stands beside it', () => {
    const email = `${'x'.repeat(64)}@${'example'.repeat(10)}.org`;
    const user = User.fromPartial({ username: 'alice', role: 'user', email, createdAt: event.at });
    const text = usersTable([user], 80);
    expect(widest(text)).to.be.at.most(80);
    const emailAt = text.indexOf('EMAIL');
    const lines = text.split('\n').slice(1);
    expect(lines.map((line) => line.slice(emailAt)).join('')).to.equal(email);
    expect(cut('worker-of-the-first-floor-17', 11, 'middle')).to.equal('worke…or-17');
  });

  it('count cells of the terminal, not code units', () => {
    const rows = [
      ['報告書', 'a'],
      ['🎉🫠', 'b'],
      ['e\u0301te\u0301', 'c'],
      ['plain', 'd'],
    ];
    const lines = table([{ title: 'NAME' }, { title: 'X' }], rows, 80).split('\n');
    expect(lines.map((line) => cellsOf(line))).to.deep.equal([10, 10, 10, 10, 10]);
    const narrow = table([{ title: 'NAME', flexible: 'end' }, { title: 'X' }], [['報'.repeat(30), 'x']], 20);
    expect(narrow.split('\n')[1]).to.equal(`${'報'.repeat(7)}…    x`);
    expect(cellsOf(narrow.split('\n')[1] ?? '')).to.equal(20);
  });

  it('are followed by prose that is broken between words', () => {
    expect(folded('warning: one two three', 14, '  ')).to.equal('warning: one\n  two three');
    expect(folded('one two', Number.POSITIVE_INFINITY, '  ')).to.equal('one two');
    expect(folded('    advice that is long', 16, '    ')).to.equal('    advice that\n    is long');
    expect(facts([['status', 'Failed (for a reason)']], 20)).to.equal('status:  Failed (for\n         a reason)');
  });

  it('never break what is seen as one character, and lose nothing of a name', () => {
    const characters = fc.constantFrom('a', ' ', '報', '🎉', '👩‍👩‍👧', 'e\u0301', '한', '\u200b');
    fc.assert(
      fc.property(fc.array(characters, { maxLength: 40 }), fc.integer({ min: 2, max: 30 }), (name, cells) => {
        const text = name.join('');
        const lines = broken(text, cells);
        expect(lines.join('')).to.equal(text);
        for (const line of lines) expect(cellsOf(line)).to.be.at.most(cells);
        for (const where of ['end', 'middle'] as const) {
          const short = cut(text, cells, where);
          expect(cellsOf(short)).to.be.at.most(cells);
          expect(short.replace('…', '')).not.to.match(/(^|[^👩])\u200d|\u200d($|[^👩👧])/u);
        }
      }),
    );
  });
});

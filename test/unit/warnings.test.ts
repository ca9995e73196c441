import { expect } from 'chai';
import { inCommandWords } from '../../shared/advice/command-words.js';
import { warn, withCause, type Warning } from '../../controller/cause/warnings.js';
import { nodeWarnings as warningsOfNodes, type WatchedNode } from '../../controller/node/warnings.js';
import { repairWarnings as warningsOfRepair, type WatchedRepair } from '../../controller/repair/warnings.js';
import type { NodeStatus } from '../../controller/node/state.js';
import type { VolumeState } from '../../shared/volume-state.js';

const ROOMY = {
  volumeTotalBytes: 100n,
  volumeFreeBytes: 50n,
  volumeInodes: 1000n,
  volumeFreeInodes: 500n,
  memoryWorkingSetBytes: 10n,
  memoryLimitBytes: 100n,
};

const node = (
  name: string,
  change: { status?: NodeStatus; cordoned?: boolean; report?: Partial<typeof ROOMY>; volume?: VolumeState } = {},
): WatchedNode => ({
  record: {
    name,
    status: change.status ?? 'Running',
    statusReason: 'because',
    cordoned: change.cordoned ?? false,
    draining: false,
  },
  report: { ...ROOMY, ...change.report },
  volume: { state: change.volume ?? 'ok', reason: change.volume === undefined ? '' : 'as it was told' },
});

const repair = ({
  unavailable = 0,
  damaged = 0,
  lost = 0,
  ...rest
}: Partial<WatchedRepair & WatchedRepair['filesInTrouble']>): WatchedRepair => ({
  lostChunks: 0,
  lostFiles: [],
  blocked: [],
  holders: [],
  filesInTrouble: { unavailable, damaged, lost },
  ...rest,
});

const textsOf = (warnings: readonly Warning[]): string[] => warnings.map(inCommandWords);
const nodeWarnings = (nodes: readonly WatchedNode[], isHostShort = false): string[] =>
  textsOf(warningsOfNodes(nodes, isHostShort));
const repairWarnings = (repair: WatchedRepair): string[] => textsOf(warningsOfRepair(repair));

describe('warnings', () => {
  it('are none when all is well, or there is nothing yet', () => {
    expect(nodeWarnings([node('a'), node('b', { cordoned: true })])).to.deep.equal([]);
    expect(nodeWarnings([])).to.deep.equal([]);
    expect(repairWarnings(repair({}))).to.deep.equal([]);
  });

  for (const [status, advice] of [
    ['Failed', /nexus node logs b, then nexus node start b/],
    ['Lost', /nexus node restart b/],
    ['Suspect', /nexus agent inspect b/],
  ] as const) {
    it(`say why a node is ${status}, and what to do`, () => {
      const [warning, ...rest] = nodeWarnings([node('a'), node('b', { status })]);
      expect(rest).to.deep.equal([]);
      expect(warning).to.include(`node b is ${status}: because; `).and.match(advice);
    });
  }

  it('tell of a volume that can’t do its part, and of the command that mends it', () => {
    const [readOnly, failing, place, ...rest] = nodeWarnings([
      node('a', { volume: 'read-only' }),
      node('b', { volume: 'failing' }),
      node('c', { volume: 'failing', status: 'Stopped' }),
    ]);
    expect(rest).to.deep.equal([]);
    expect(readOnly).to.match(
      /the volume of node a is read-only \(as it was told\).* can be read.*nexus node restart a/,
    );
    expect(failing).to.match(/the volume of node b is failing .* unavailable.*nexus node restart b/);
    expect(place).to.match(/no node accepts new data/);
  });

  it('tell of inodes that run out', () => {
    const [warning, ...rest] = nodeWarnings([node('a', { report: { volumeFreeInodes: 100n } })]);
    expect(rest).to.deep.equal([]);
    expect(warning).to.match(/node a has used 90 % of its volume's inodes, 100 are left;/);
    expect(nodeWarnings([node('a', { report: { volumeInodes: 0n, volumeFreeInodes: 0n } })])).to.deep.equal([]);
  });

  it('tell of full volumes and full memory, of nodes that are up', () => {
    const full = { volumeFreeBytes: 10n, memoryWorkingSetBytes: 95n };
    const warnings = nodeWarnings([node('a', { report: full }), node('b', { status: 'Stopped', report: full })]);
    expect(warnings).to.have.length(2);
    expect(warnings[0]).to.match(
      /volume of node a is 90 % full; .*nexus file rebalance; .*nexus node exec a -- du -h -d 3 \/data$/,
    );
    expect(warnings[1]).to.match(/node a uses 95 % of its memory; .*nexus node resize a --mem/);
    expect(nodeWarnings([node('a', { report: { memoryWorkingSetBytes: 94n, volumeFreeBytes: 11n } })])).to.deep.equal(
      [],
    );
    expect(nodeWarnings([node('a', { report: { memoryLimitBytes: 0n, memoryWorkingSetBytes: 99n } })])).to.deep.equal(
      [],
    );
  });

  it('tell when no node takes anything', () => {
    expect(nodeWarnings([node('a', { cordoned: true }), node('b', { status: 'Stopped' })])).to.deep.equal([
      'no node accepts new data: start or uncordon one; or create one with: nexus node create NAME --storage 1G',
    ]);
  });

  it('send nobody to start, uncordon or add a node where the volumes are what fails', () => {
    const readOnly = [node('a', { volume: 'read-only' }), node('b', { volume: 'read-only' })];
    const place = (nodes: readonly WatchedNode[], isHostShort: boolean) =>
      nodeWarnings(nodes, isHostShort).filter((text) => text.startsWith('no node accepts new data'));
    expect(place(readOnly, true)).to.deep.equal([
      "no node accepts new data: make room on the host's disk, which is nearly full, then the volumes of a, b can be repaired",
    ]);
    expect(place([...readOnly, node('c', { status: 'Stopped' })], false)).to.deep.equal([
      'no node accepts new data: repair the volumes of a, b, or start or uncordon one; or create one with: nexus node create NAME --storage 1G',
    ]);
  });

  it('of damaged and lost files do not send to nodes that run', () => {
    const [lost] = repairWarnings(repair({ lostChunks: 1, lostFiles: ['3f2a'], damaged: 1 }));
    expect(lost).to.equal(
      '1 chunk(s) cannot be read now, of 1 damaged file(s): 3f2a; nexus file ls --lost lists the files to store again',
    );
  });

  it('tell of chunks that cannot be reached, and why copies cannot be made', () => {
    const [lost, blocked] = repairWarnings(
      repair({
        lostChunks: 2,
        lostFiles: ['a', 'b', 'c'],
        unavailable: 3,
        blocked: ['no room; add one'],
        holders: ['n1', 'n2', 'n3', 'n4', 'n5'],
      }),
    );
    expect(lost).to.match(
      /of 3 unavailable file\(s\): a, b, c \.\.\.; start or restart the nodes that have them: n1, n2, n3 and 2 more$/,
    );
    expect(blocked).to.match(/cannot be repaired: no room; add one$/);
  });

  it('name a shared cause once, in place of what it explains', () => {
    const cause = { kind: 'bus', problem: 'the bus does not answer', remedy: 'it is replaced', since: 0 } as const;
    const found = [warn('node-lost', 'a'), warn('node-lost', 'b'), warn('volume-full', 'c'), warn('no-place', 'd')];
    expect(withCause(undefined, found)).to.equal(found);
    expect(textsOf(withCause(cause, found))).to.deep.equal([
      'the bus does not answer since 1970-01-01T00:00:00.000Z: it is replaced',
      'c',
    ]);
  });
});

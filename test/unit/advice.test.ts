/** Every kind of warning has a case here, which fails to compile without one; the commands that it names are there. */
import { expect } from 'chai';
import { WARNING_KINDS, warn, withCause, type Warning, type WarningKind } from '../../controller/cause/warnings.js';
import { nodeWarnings, type WatchedNode } from '../../controller/node/warnings.js';
import { repairWarnings } from '../../controller/repair/warnings.js';
import { COMMANDS } from '../../cli/command-tree.js';
import { isGroup, type Group, type Leaf } from '../../cli/command-group.js';

const ROOMY = {
  volumeTotalBytes: 100n,
  volumeFreeBytes: 50n,
  volumeInodes: 100n,
  volumeFreeInodes: 50n,
  memoryWorkingSetBytes: 10n,
  memoryLimitBytes: 100n,
};

function node(
  status: WatchedNode['record']['status'],
  report: Partial<typeof ROOMY> = {},
  state: WatchedNode['volume']['state'] = 'ok',
): Warning[] {
  const record = { name: 'a', status, statusReason: 'because', cordoned: false, draining: false };
  return nodeWarnings([{ record, report: { ...ROOMY, ...report }, volume: { state, reason: 'because' } }]);
}

const trouble = { unavailable: 1, damaged: 1, lost: 1 };
const CAUSE = { kind: 'bus', problem: 'the bus does not answer', remedy: 'it is replaced', since: 0 } as const;
/** Its text is made where it is known, and checked there. */
const elsewhere = (kind: WarningKind) => (): Warning[] => [warn(kind, '')];

const CASES: Readonly<Record<WarningKind, () => readonly Warning[]>> = {
  'shared-cause': () => withCause(CAUSE, node('Lost')),
  'database-lost': elsewhere('database-lost'),
  'log-unwritten': elsewhere('log-unwritten'),
  'node-misbehaves': elsewhere('node-misbehaves'),
  mail: elsewhere('mail'),
  'gateway-down': elsewhere('gateway-down'),
  'chunks-unreadable': () =>
    repairWarnings({ lostChunks: 3, lostFiles: ['1', '2', '3'], blocked: [], filesInTrouble: trouble }),
  'repair-blocked': () =>
    repairWarnings({ lostChunks: 0, lostFiles: [], blocked: ['no room; add one'], filesInTrouble: trouble }),
  'host-disk': elsewhere('host-disk'),
  'runtime-caveat': elsewhere('runtime-caveat'),
  'node-failed': () => node('Failed'),
  'node-lost': () => node('Lost'),
  'node-suspect': () => node('Suspect'),
  'volume-bad': () => node('Running', {}, 'read-only'),
  'volume-full': () => node('Running', { volumeFreeBytes: 1n }),
  'inodes-full': () => node('Running', { volumeFreeInodes: 1n }),
  'memory-full': () => node('Running', { memoryWorkingSetBytes: 99n }),
  'no-place': () => node('Stopped'),
};

/** Whether the words after `nexus` lead to a command; those behind it are its arguments. */
function isCommand(words: readonly string[]): boolean {
  let at: Group | Leaf | undefined = COMMANDS;
  for (const word of words) {
    if (at === undefined || !isGroup(at)) break;
    at = at.children[word];
  }
  return at !== undefined && !isGroup(at);
}

describe('the advice of a warning', () => {
  for (const kind of WARNING_KINDS) {
    it(`of the kind ${kind} names only commands that there are`, () => {
      const found = CASES[kind]().find((warning) => warning.kind === kind);
      expect(found, 'the case provokes it').to.not.equal(undefined);
      for (const [, words = ''] of (found?.text ?? '').matchAll(/\bnexus ((?:[a-z-]+ ?)+)/g)) {
        expect(isCommand(words.trim().split(' ')), `nexus ${words}`).to.equal(true);
      }
    });
  }
});

/**
 * Every advice, every kind of warning and every alert, with its real text: the commands that it names exist, and take the
 * arguments that it gives them. An advice or a kind without a case does not compile.
 */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect } from 'chai';
import { parse } from 'yaml';
import type { Advice, AdviceArguments, Message } from '../../shared/advice/advice.js';
import { adviceText, inCommandWords } from '../../shared/advice/command-words.js';
import { WARNING_KINDS, warn, withCause, type Warning, type WarningKind } from '../../controller/cause/warnings.js';
import { EventLog } from '../../controller/events/log.js';
import { endedGateway, silentGateway } from '../../controller/gateway/process.js';
import { roomWarning } from '../../controller/host/room.js';
import { MailStatistics } from '../../controller/identity/mail-statistics.js';
import { FULL_DISK, NO_SLOT, shortOfSpares } from '../../controller/node/spare/plan.js';
import { startAdvice } from '../../controller/node/watch/ending.js';
import { Misconduct } from '../../controller/node/watch/misconduct.js';
import { nodeWarnings, type WatchedNode } from '../../controller/node/warnings.js';
import { repairWarnings } from '../../controller/repair/warnings.js';
import { logWarnings } from '../../controller/cause/cluster-warnings.js';
import { ProcessRuntime } from '../../controller/hosting/process/process-runtime.js';
import { lostDatabase } from '../../controller/state/snapshot.js';
import { FakeStore } from '../fakes/store.js';
import { isGroup, type Group, type Leaf } from '../../cli/runner/command-group.js';
import { COMMANDS } from '../../cli/runner/command-tree.js';
import { GLOBAL_FLAGS } from '../../cli/runner/command.js';
import { checkCompleteness, scanArguments } from '../../cli/runner/scan.js';
import { systemClock } from '../../shared/async/clock.js';
import { NexusError } from '../../shared/errors.js';
import { createLogger } from '../../shared/log.js';
import { errorOfStatus, statusOf } from '../../shared/rpc/status.js';
import { PROJECT } from '../support/cluster.js';
import { nodeId } from '../support/records.js';

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
  return nodeWarnings([{ record, report: { ...ROOMY, ...report }, volume: { state, reason: 'because' } }], false);
}

const trouble = { unavailable: 1, damaged: 1, lost: 1 };
const CAUSE = { kind: 'bus', problem: 'the bus does not answer', remedy: 'it is replaced', since: 0 } as const;
const DISK = {
  places: ['state'],
  path: '/var/lib/nexus',
  totalBytes: 100,
  freeBytes: 1,
  totalInodes: 100,
  freeInodes: 1,
};
const ofKind = (kind: WarningKind, found: readonly Message[]): Warning[] => found.map((one) => warn(kind, one));

function mail(): readonly Message[] {
  const statistics = new MailStatistics('smtp.example:25', systemClock, undefined);
  statistics.noteFailed('the server does not answer');
  return statistics.warnings;
}

function misconduct(): readonly Message[] {
  const events = new EventLog(new FakeStore().events, systemClock, createLogger('test', 'silent'), inCommandWords);
  const records = new Misconduct(events, systemClock);
  records.note(nodeId(1), 'a', 'a time in the future');
  return records.warning(nodeId(1), 'a');
}

const CASES: Readonly<Record<WarningKind, () => readonly Warning[]>> = {
  'shared-cause': () => withCause(CAUSE, node('Lost')),
  'database-lost': () => ofKind('database-lost', [lostDatabase('/var/lib/nexus/nexus.json')]),
  'log-unwritten': () => ofKind('log-unwritten', logWarnings({ dropped: 3, problem: 'ENOSPC' })),
  'node-misbehaves': () => ofKind('node-misbehaves', misconduct()),
  mail: () => ofKind('mail', mail()),
  'gateway-down': () =>
    ofKind('gateway-down', [silentGateway(7, '/run/nexus/gateway.log'), endedGateway('signal SIGKILL', '/run/x.log')]),
  'chunks-unreadable': () =>
    repairWarnings({ lostChunks: 3, lostFiles: ['1', '2', '3'], blocked: [], holders: ['a'], filesInTrouble: trouble }),
  'repair-blocked': () =>
    repairWarnings({
      lostChunks: 0,
      lostFiles: [],
      blocked: ['no room; add one'],
      holders: [],
      filesInTrouble: trouble,
    }),
  'host-disk': () => ofKind('host-disk', roomWarning(DISK, 90)),
  'runtime-caveat': () => ofKind('runtime-caveat', new ProcessRuntime({ runDir: '', agentScript: '' }).caveats),
  'node-failed': () => node('Failed'),
  'node-lost': () => node('Lost'),
  'node-suspect': () => node('Suspect'),
  'volume-bad': () => [...node('Running', {}, 'read-only'), ...node('Running', {}, 'hung')],
  'volume-full': () => node('Running', { volumeFreeBytes: 1n }),
  'inodes-full': () => node('Running', { volumeFreeInodes: 1n }),
  'memory-full': () => node('Running', { memoryWorkingSetBytes: 99n }),
  'no-place': () => node('Stopped'),
  'spares-missing': () =>
    ofKind(
      'spares-missing',
      [NO_SLOT, FULL_DISK].map((why) => shortOfSpares(0, 2, why)),
    ),
};

/** Words with which prose goes on behind a command. */
const PROSE = new Set(['then', 'which', 'tells', 'brings', 'tries', 'lists', 'names', 'says', 'puts', 'gives', 'has']);

/**
 * What comes behind `nexus` in a text, up to the end of its part of the sentence. Of the words there the command takes as
 * many as it can; a flag among those that it can't take is a mistake.
 */
async function checkCommand(said: string): Promise<void> {
  const words = said.replace(/[.:]$/, '').split(' ').filter(Boolean);
  let at: Group | Leaf = COMMANDS;
  let used = 0;
  for (let next; isGroup(at); at = next, used += 1) {
    next = at.children[words[used] ?? ''];
    if (next === undefined) throw new Error(`there is no nexus ${words.slice(0, used + 1).join(' ')}`);
  }
  const command = await at.load();
  const where = `nexus ${words.slice(0, used).join(' ')}`;
  const rest = words.slice(used);
  const prose = rest.findIndex((word) => PROSE.has(word));
  const given = prose < 0 ? rest : rest.slice(0, prose);
  let failure: unknown;
  for (let count = given.length; count >= 0; count -= 1) {
    try {
      const scanned = scanArguments(given.slice(0, count), command, { ...GLOBAL_FLAGS, ...command.flags }, where);
      checkCompleteness(scanned, command, where);
      const left = given.slice(count).find((word) => word.startsWith('-'));
      if (left !== undefined) throw new Error(`${where} does not take ${left}`);
      return;
    } catch (error) {
      failure ??= error;
    }
  }
  throw failure;
}

async function checkText(text: string): Promise<number> {
  const found = [...text.matchAll(/\bnexus ([a-z][^;,()&]*)/g)];
  for (const [, said = ''] of found) await checkCommand(said);
  return found.length;
}

const NODE = { node: 'a' };
const PATH = { path: '/reports' };
/** One of each; an advice that is missing here does not compile. */
const GIVEN: AdviceArguments = {
  'list-nodes': {},
  'see-node-state': {},
  'await-start': {},
  'start-node': NODE,
  'start-stopped-node': NODE,
  'start-failed-node': NODE,
  'restart-node': NODE,
  'restart-lost-node': NODE,
  'restart-silent-node': NODE,
  'replace-agent': NODE,
  'inspect-agent': NODE,
  'see-node-logs': NODE,
  'create-node': {},
  'create-another-node': {},
  'drain-first': NODE,
  'cancel-drain': NODE,
  'remove-node-again': NODE,
  'free-address': {},
  'remove-all-nodes': {},
  'stop-nodes': {},
  'add-memory': NODE,
  'choose-less-memory': {},
  'repair-volume': NODE,
  'free-volume': NODE,
  'free-inodes': NODE,
  'give-up-volume': { ...NODE, image: '/var/lib/nexus/volumes/1.img' },
  'list-files': {},
  'list-lost-files': {},
  'download-rest': { file: '0123456789abcdef', ranges: ['0-99', '200-'] },
  'list-folder': {},
  'make-folder': PATH,
  'remove-folder': PATH,
  'remove-path': {},
  'overwrite-path': {},
  'raise-quota': {},
  'list-users': {},
  'make-administrator': {},
  'list-functions': {},
  'list-images': {},
  'rebuild-base-image': {},
  'see-status': {},
  'await-recovery': {},
  'see-events': {},
  'see-doctor': {},
  'choose-runtime': {},
  'stop-controller': {},
  'restart-cluster': {},
  'use-root': {},
  'use-exported-state': {},
  'import-state': PATH,
  'move-database': { choices: '/var/lib/nexus/choices.json' },
};
/** They name a flag of the very command that was refused. */
const FLAGS_ONLY: readonly string[] = ['choose-less-memory', 'choose-runtime', 'overwrite-path'];

describe('advice', () => {
  for (const [key, given] of Object.entries(GIVEN)) {
    it(`${key} names commands that there are, as they are called`, async () => {
      const advice = { key, ...given } as Advice;
      const found = await checkText(adviceText(advice));
      expect(found > 0, adviceText(advice)).to.equal(!FLAGS_ONLY.includes(key));
    });
  }

  it('stays with an error that is told from the outside, and comes last', () => {
    const refused = new NexusError('not_found', 'there is no node "a"', {}, { advice: { key: 'list-nodes' } });
    const told = refused.during('drain');
    expect(told).to.include({ code: 'not_found', message: 'drain: there is no node "a"' });
    expect(inCommandWords(told)).to.equal('drain: there is no node "a"; nexus node ls lists them');
    expect(errorOfStatus(statusOf(told))).to.include({
      code: 'not_found',
      message: 'drain: there is no node "a"; nexus node ls lists them',
    });
  });
});

describe('the advice of a warning', () => {
  for (const kind of WARNING_KINDS) {
    it(`of the kind ${kind} names only commands that there are, as they are called`, async () => {
      const found = CASES[kind]().filter((warning) => warning.kind === kind);
      expect(found, 'the case provokes it').not.to.deep.equal([]);
      for (const text of found.map(inCommandWords)) {
        expect(text.length, text).to.be.greaterThan(20);
        await checkText(text);
      }
    });
  }

  it('is given for a volume that can’t be mounted', () => {
    const image = '/var/lib/nexus/volumes/1.img';
    const advice = startAdvice('the volume has no ext4 file system', 'a', image);
    expect(advice).to.deep.equal([{ key: 'give-up-volume', node: 'a', image }]);
    expect(startAdvice('its agent ended with exit code 1', 'a', image)).to.deep.equal([]);
  });

  it('is seen to be wrong where it is', async () => {
    for (const wrong of ['nexus node mend a', 'nexus node resize a --memory-mb 5', 'nexus node inspect', 'nexus node'])
      expect(await checkText(`do: ${wrong}; more`).catch(() => 'wrong'), wrong).to.equal('wrong');
  });
});

interface Rules {
  readonly groups: readonly { readonly rules: readonly { alert?: string; annotations?: { action?: string } }[] }[];
}

describe('the advice of an alert', () => {
  const { groups } = parse(readFileSync(join(PROJECT, 'deploy', 'prometheus', 'alerts.yml'), 'utf8')) as Rules;
  for (const { alert, annotations } of groups.flatMap(({ rules }) => rules)) {
    if (alert === undefined) continue;
    it(`${alert} names only commands that there are, as they are called`, async () => {
      const action = annotations?.action ?? '';
      expect(action).not.to.equal('');
      await checkText(action.replace(/\{\{[^}]*\}\}/g, 'a'));
    });
  }
});

/**
 * Choices for a cluster's nodes, kept beside its state for the next start. Of all settings these are part of the
 * state: another value would make nodes fail, or show another cluster. What is remembered holds no secrets.
 */
import { existsSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import { notice, type Notice } from '../../shared/advice/advice.js';
import { CHOICES_FILE, rememberedChoices, WITH_NODES, WITH_VOLUMES } from '../../shared/config/choices.js';
import { DATABASES, databaseOfUrl } from '../../shared/config/databases.js';
import { abilitiesOf } from '../../shared/config/runtimes.js';
import { keyName, type SettingName, type Settings } from '../../shared/config/settings.js';
import { NexusError } from '../../shared/errors.js';
import { isNodeId } from '../../shared/ids.js';
import type { Logger } from '../../shared/log.js';
import { writeSecret } from './secret-file.js';

/** Fixed while nodes run: they get these at their start. */
const WITH_RUNNING_NODES = ['natsUrl', 'natsPort', 'dataPort', 'runDir'] as const satisfies readonly SettingName[];

type Choice =
  (typeof WITH_NODES)[number] | (typeof WITH_VOLUMES)[number] | (typeof WITH_RUNNING_NODES)[number] | 'databaseUrl';
export type ChoiceSettings = Pick<Settings, Choice | 'stateDir'>;

/**
 * Called before the store is opened: another database would look like a cluster without nodes. Code:
 * failed_precondition, with advice.
 */
export function assertSameDatabase(settings: ChoiceSettings): void {
  const { stateDir } = settings;
  const remembered = rememberedChoices(stateDir);
  // Files of earlier versions name no database; theirs is the one that has the nodes.
  const isEarlier = remembered['runtime'] !== undefined && existsSync(join(stateDir, 'nexus.db'));
  const before = remembered['databaseUrl'] ?? (isEarlier ? SQLITE : undefined);
  const now = databaseOf(settings);
  if (before === undefined || before === now) return;
  const volumes = volumesIn(stateDir);
  if (volumes === 0) return;
  throw new NexusError(
    'failed_precondition',
    `the nodes of this cluster (${volumes} with volumes in ${stateDir}) are in the database ${before}, and ${now} was asked for; set database-url as it was${before === SQLITE ? ' (to nothing)' : ''}`,
    {},
    { advice: { key: 'move-database', choices: join(stateDir, CHOICES_FILE) } },
  );
}

/** Call with the instance's lock held. Code: failed_precondition, with advice. */
export async function rememberChoices(
  settings: ChoiceSettings,
  nodes: { readonly all: number; readonly running: number },
  log: Logger,
): Promise<void> {
  const { stateDir } = settings;
  const before = rememberedChoices(stateDir);
  const now = choicesOf(settings);
  if (nodes.all > 0) {
    assertOwnNodes(settings, Object.keys(before).length > 0);
    assertSame(WITH_NODES, before, now, ({ name, was, is }) =>
      notice(
        name === 'runtime'
          ? `the nodes of this cluster were made with the runtime ${was}, and ${is} was asked for; leave that out`
          : `the nodes of this cluster were made with ${keyName(name)} ${was}, and ${is} was asked for; set it to ${was} again`,
        { key: 'remove-all-nodes' },
      ),
    );
  }
  if (volumesIn(stateDir) > 0) {
    assertSame(WITH_VOLUMES, before, now, ({ name, was, is }) =>
      notice(
        `the files in the volumes of this cluster belong to users of ${keyName(name)} ${was}, and ${is} was asked for; set it to ${was} again`,
        { key: 'remove-all-nodes' },
      ),
    );
  }
  if (nodes.running > 0) {
    assertSame(WITH_RUNNING_NODES, before, now, ({ name, was, is }) =>
      notice(
        `${nodes.running === 1 ? 'a node' : `${nodes.running} nodes`} of this cluster ${nodes.running === 1 ? 'runs' : 'run'} with ${keyName(name)} ${was}, and ${is} was asked for; start with ${was}`,
        { key: 'stop-nodes' },
      ),
    );
  }
  if (Object.entries(now).every(([name, value]) => before[name] === value)) return;
  await writeSecret(join(stateDir, CHOICES_FILE), `${JSON.stringify(now)}\n`).catch((error: unknown) => {
    // An existing cluster, which may predate this file, can run on a full disk all the same.
    if (nodes.all === 0) throw error;
    log.warn({ err: error }, 'what was chosen for the nodes could not be remembered');
  });
}

interface Difference {
  readonly name: Choice;
  readonly was: string;
  readonly is: string;
}

function assertSame(
  names: readonly Choice[],
  before: Readonly<Record<string, string>>,
  now: Readonly<Record<Choice, string>>,
  say: (difference: Difference) => Notice,
): void {
  for (const name of names) {
    const was = before[name];
    // Choices that an earlier version did not remember are added.
    if (was === undefined || was === now[name]) continue;
    const { message, advice } = say({ name, was, is: now[name] });
    throw new NexusError('failed_precondition', message, {}, { advice });
  }
}

/** Rejects an external database that may belong to another state folder: it outlives its own. */
function assertOwnNodes(settings: ChoiceSettings, isKnown: boolean): void {
  const { stateDir, databaseUrl } = settings;
  const volumes = join(stateDir, 'volumes');
  if (isKnown || databaseUrl === undefined || existsSync(volumes)) return;
  throw new NexusError(
    'failed_precondition',
    `the nodes in the database ${databaseOf(settings)} have their volumes in another state folder, and ${stateDir} was asked for, which has none; set state-dir as it was, or, if that folder is lost, make the empty folder ${volumes} to start without them`,
  );
}

function volumesIn(stateDir: string): number {
  try {
    return readdirSync(join(stateDir, 'volumes')).filter((name) => isNodeId(name.replace(/\..*$/, ''))).length;
  } catch {
    return 0;
  }
}

const SQLITE = 'SQLite in the state folder';

/** Identifies a database without user and password. */
function databaseOf({ databaseUrl }: Pick<Settings, 'databaseUrl'>): string {
  if (databaseUrl === undefined) return SQLITE;
  const name = databaseOfUrl(databaseUrl);
  // The store refuses text that is no URL.
  if (name === undefined || !URL.canParse(databaseUrl)) return withoutUser(databaseUrl);
  const { hostname, port, pathname, searchParams } = new URL(databaseUrl);
  const host = searchParams.get('host') ?? decodeURIComponent(hostname);
  const { schemes, defaultPort } = DATABASES[name];
  return `${schemes[0]}://${host}:${port || defaultPort}${pathname}`;
}

const withoutUser = (url: string): string => url.replace(/\/\/[^/]*@/, '//');

function choicesOf(settings: ChoiceSettings): Record<Choice, string> {
  const { runtime, instance, subnet, nodeUidBase, natsUrl, natsPort, dataPort, runDir } = settings;
  return {
    runtime,
    instance,
    subnet,
    nodeUidBase: abilitiesOf(runtime).needsRoot ? String(nodeUidBase) : NO_USERS,
    databaseUrl: databaseOf(settings),
    natsUrl: natsUrl === undefined ? OWN_SERVER : withoutUser(natsUrl),
    natsPort: natsUrl === undefined ? String(natsPort) : OUTSIDE,
    dataPort: String(dataPort),
    runDir,
  };
}

const OWN_SERVER = '(its own server)';
const OUTSIDE = '(outside)';
const NO_USERS = '(none)';

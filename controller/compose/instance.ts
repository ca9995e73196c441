/** The instance itself: its lock, its folders, its store with events and nodes, and the keys that it signs with. */
import { mkdir, readdir, readFile, rm, rmdir } from 'node:fs/promises';
import { join } from 'node:path';
import { CONTROLLER_LOG, LOCK_FILE } from '../../shared/config/instance.js';
import { inForceFile, inForceText } from '../../shared/config/in-force.js';
import { exportSigningKey, generateSigningKey, importSigningKey, type SigningKey } from '../../shared/chunk-token.js';
import { inCommandWords } from '../../shared/advice/command-words.js';
import { systemClock } from '../../shared/async/clock.js';
import { assertOwnRunFolder } from '../../shared/host/own-folder.js';
import { EventLog } from '../events/log.js';
import { assertSameDatabase, rememberChoices } from '../host/choices.js';
import { awaitInstance } from '../host/instance-lock.js';
import { isAlive } from '../host/process-identity.js';
import { writePassingSecret, writeSecret } from '../host/secret-file.js';
import { checkHost } from '../hosting/profiles.js';
import { identityOf } from '../hosting/record.js';
import type { IdentityUseCases } from '../identity/use-cases.js';
import { NodeRegistry } from '../node/registry.js';
import { somebodyListens } from '../edge/server.js';
import type { Store } from '../store/port/store.js';
import { makeStore, openIdentity } from './adapters.js';
import type { Starting } from './starting.js';

export interface Instance {
  readonly store: Store;
  readonly events: EventLog;
  readonly registry: NodeRegistry;
  readonly identity: IdentityUseCases;
  readonly tokenKey: SigningKey;
}

export async function openInstance(starting: Starting): Promise<Instance> {
  const { settings, log } = starting;
  const { stateDir, runDir, instance, socket } = settings;
  await checkHost(settings);
  assertOwnRunFolder(runDir);
  const isServing = (): Promise<boolean> => somebodyListens(socket);
  const lock = await starting.unlessAsked(awaitInstance({ stateDir, instance, isServing, clock: systemClock, log }));
  starting.defer('release the instance', async () => {
    lock.release();
  });
  starting.deferUnlessUp('take the state folder back', await claimForStart(stateDir, 0o700));
  starting.deferUnlessUp('take the runtime folder back', await claimForStart(runDir, RUN_FOLDER_MODE));
  // Another user may have made it since.
  assertOwnRunFolder(runDir);
  assertSameDatabase(settings);
  const store = await makeStore(settings, log);
  starting.defer('close the store', () => starting.endDatabase(store));
  const events = new EventLog(store.events, systemClock, log, inCommandWords);
  const registry = new NodeRegistry(store.nodes, events, systemClock);
  await registry.load();
  const living = registry.list().filter((node) => isAlive(identityOf(node)));
  await rememberChoices(settings, { all: registry.list().length, running: living.length }, log);
  await tellSettings(starting);
  const identity = await openIdentity(starting, events);
  return { store, events, registry, identity, tokenKey: await loadTokenKey(stateDir) };
}

/** For `nexus up`. What an earlier controller told must not count as this one's. */
async function tellSettings({ settings, log }: Starting): Promise<void> {
  const path = inForceFile(settings);
  await rm(path, { force: true });
  await writePassingSecret(path, inForceText(settings)).catch((error: unknown) => {
    log.warn(
      { err: error },
      'the settings in force could not be written down; nobody is told which others have no effect',
    );
  });
}

/** Agents of root's cluster have users of their own, who must get through. */
const RUN_FOLDER_MODE = process.getuid?.() === 0 ? 0o711 : 0o700;

/** Files that exist before a first start has done anything. */
const NO_CONTENT: ReadonlySet<string> = new Set([CONTROLLER_LOG, LOCK_FILE]);

/**
 * Makes a folder that a first start fills, if it is missing, and returns a function that removes it again. A folder that
 * had content before is left alone, and so is the log with the reason of the failure, which the caller may need.
 * Call with the instance's lock held.
 */
async function claimForStart(path: string, mode: number): Promise<() => Promise<void>> {
  await mkdir(path, { recursive: true, mode });
  const isFirst = (await readdir(path)).every((name) => NO_CONTENT.has(name));
  return async () => {
    if (!isFirst) return;
    const made = (await readdir(path)).filter((name) => name !== CONTROLLER_LOG);
    for (const name of made) await rm(join(path, name), { recursive: true, force: true });
    await rmdir(path).catch((error: unknown) => {
      if ((error as NodeJS.ErrnoException).code !== 'ENOTEMPTY') throw error;
    });
  };
}

/** The key that signs chunk tokens: made at the first start, kept in <state>/token.pem (mode 0600). */
async function loadTokenKey(stateDir: string): Promise<SigningKey> {
  const path = join(stateDir, 'token.pem');
  try {
    return importSigningKey(await readFile(path, 'utf8'));
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ENOENT') throw error;
    const key = generateSigningKey();
    await writeSecret(path, exportSigningKey(key));
    return key;
  }
}

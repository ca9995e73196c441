/** The instance itself: its lock, its folders, its store with events and nodes, and the keys that it signs with. */
import type { SigningKey } from '../../shared/chunk-token.js';
import { systemClock } from '../../shared/async/clock.js';
import { EventLog } from '../events/log.js';
import { assertSameDatabase, rememberChoices } from '../host/choices.js';
import { claimForStart } from '../host/first-start.js';
import { awaitInstance } from '../host/instance-lock.js';
import { isAlive } from '../host/process-identity.js';
import { loadTokenKey } from '../host/signing-key.js';
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
  const isServing = (): Promise<boolean> => somebodyListens(socket);
  const lock = await starting.unlessAsked(awaitInstance({ stateDir, instance, isServing, clock: systemClock, log }));
  starting.defer('release the instance', async () => {
    lock.release();
  });
  starting.deferUnlessUp('take the state folder back', await claimForStart(stateDir, 0o700));
  starting.deferUnlessUp('take the runtime folder back', await claimForStart(runDir, 0o711));
  assertSameDatabase(settings);
  const store = await makeStore(settings, log);
  starting.defer('close the store', () => starting.endDatabase(store));
  const events = new EventLog(store.events, systemClock, log);
  const registry = new NodeRegistry(store.nodes, events, systemClock);
  await registry.load();
  const living = registry.list().filter((node) => isAlive(identityOf(node)));
  await rememberChoices(settings, { all: registry.list().length, running: living.length }, log);
  const identity = await openIdentity(starting, events);
  return { store, events, registry, identity, tokenKey: await loadTokenKey(stateDir) };
}

/**
 * The concrete adapters behind the controller's ports, selected by the settings. Only this file and the profiles of
 * hosting name them.
 */
import { join } from 'node:path';
import { systemClock } from '../../shared/async/clock.js';
import { abilitiesOf } from '../../shared/config/runtimes.js';
import type { Settings } from '../../shared/config/settings.js';
import type { Logger } from '../../shared/log.js';
import { MIB } from '../../shared/limits.js';
import { loadAccounts } from '../bus/credentials.js';
import { externalAccess, NatsBus, ownServerAccess } from '../bus/nats.js';
import { NatsServer } from '../bus/nats-server.js';
import type { EventLog } from '../events/log.js';
import { serviceUserIds } from '../../shared/host/service-user.js';
import type { Places } from '../hosting/port.js';
import { IdentityKeys } from '../identity/keys.js';
import { OutboxMailer } from '../identity/outbox.js';
import { ScryptHasher } from '../identity/passwords.js';
import type { Mailer } from '../identity/port.js';
import { SmtpMailer } from '../identity/smtp.js';
import { openIdentityStore } from '../identity/typeorm.js';
import { IdentityUseCases } from '../identity/use-cases.js';
import { FolderImages } from '../image/folder-images.js';
import { BASE_IMAGE, type ImageStore } from '../image/port.js';
import { NoSandboxes } from '../lambda/sandbox/none.js';
import type { SandboxRuntime } from '../lambda/sandbox/port.js';
import { launcherFolder, TemplateSandboxes } from '../lambda/sandbox/template.js';
import type { LogWriters } from '../log/port.js';
import { WriterProcesses } from '../log/writer-process.js';
import type { Store } from '../store/port/store.js';
import type { Starting } from './starting.js';
import { databaseOf } from '../store/typeorm/open.js';
import { openStore } from '../store/typeorm/store.js';

export const makeStore = (settings: Settings, log: Logger): Promise<Store> =>
  openStore(databaseOf(settings, 'nexus', endForLoss), log);

export const makeImages = (settings: Settings, { project }: Places): ImageStore =>
  new FolderImages({
    folder: join(settings.stateDir, 'images'),
    cacheDir: join(project, '.cache'),
    sharedDir: '/var/cache/nexus',
    buildScript: join(project, 'deploy', 'base-image.sh'),
  });

export async function makeSandboxes(
  settings: Settings,
  { dist }: Places,
  images: ImageStore,
  log: Logger,
): Promise<SandboxRuntime> {
  if (!abilitiesOf(settings.runtime).sandboxes) return new NoSandboxes();
  return await TemplateSandboxes.open({
    cgroupParent: settings.cgroupParent,
    image: () => images.rootfsOf(BASE_IMAGE),
    program: join(dist, 'sandbox'),
    busybox: join(dist, 'runtime', 'bin', 'busybox'),
    runDir: launcherFolder(settings.runDir),
    uidBase: settings.lambdaUidBase,
    startTimeoutMs: settings.lambdaStartTimeoutMs,
    log,
  });
}

export async function openIdentity(starting: Starting, events: EventLog): Promise<IdentityUseCases> {
  const { settings, log } = starting;
  const store = await openIdentityStore(databaseOf(settings, 'auth', endForLoss), log);
  starting.defer('close the accounts', () => starting.endDatabase(store));
  const keys = await IdentityKeys.load(join(settings.stateDir, 'identity-keys.json'), systemClock);
  const mailer = await makeMailer(settings);
  log.info({ destination: mailer.destination }, `mail goes to ${mailer.destination}`);
  const hasher = new ScryptHasher();
  const identity = new IdentityUseCases({ store, hasher, mailer, keys, clock: systemClock, log, settings, events });
  starting.defer('send the mail that waits', () => identity.close());
  return identity;
}

async function makeMailer(settings: Settings): Promise<Mailer> {
  const { smtpHost: host, stateDir, instance } = settings;
  const from = settings.mailFrom ?? `${instance}@localhost`;
  if (host !== undefined) return await SmtpMailer.open({ ...settings, host, from });
  return await OutboxMailer.open(settings.outboxDir ?? join(stateDir, 'outbox'), from, systemClock);
}

/** Another controller has the database now, and with it the nodes: this one must not touch them any more. */
function endForLoss(): void {
  process.exitCode = 1;
  process.kill(process.pid, 'SIGTERM');
}

export async function makeLogs(settings: Settings, { dist }: Places): Promise<LogWriters> {
  const user = await serviceUserIds(settings.serviceUser);
  const { logMaxMb, logFiles: files } = settings;
  return await WriterProcesses.open({ program: join(dist, 'log-writer'), user, maxBytes: logMaxMb * MIB, files });
}

export async function makeBus(settings: Settings, host: string, log: Logger, logs: LogWriters): Promise<NatsBus> {
  if (settings.natsUrl !== undefined) {
    const access = await externalAccess({
      url: settings.natsUrl,
      accountSeedFile: settings.natsAccountSeedFile,
      accountPublicKey: settings.natsAccountPublicKey,
      systemCredsFile: settings.natsSystemCredsFile,
    });
    return new NatsBus(access, settings.instance, log, undefined, settings.natsConnectTimeoutMs);
  }
  const accounts = await loadAccounts(settings.stateDir);
  const user = await serviceUserIds(settings.serviceUser);
  const { natsPort: port, runDir } = settings;
  const server = new NatsServer({ host, port, runDir, accounts, user, clock: systemClock, log, logs });
  await server.start();
  return new NatsBus(
    await ownServerAccess(server, accounts),
    settings.instance,
    log,
    server,
    settings.natsConnectTimeoutMs,
  );
}

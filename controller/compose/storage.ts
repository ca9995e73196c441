/** Composes files, their upkeep, virtual file systems, functions, and the state as a document. */
import { systemClock } from '../../shared/async/clock.js';
import { VERSION } from '../../shared/version.js';
import { FileMaintenance } from '../file/maintenance.js';
import { Room } from '../file/room.js';
import { FileUseCases } from '../file/use-cases.js';
import { CallerFiles } from '../lambda/caller-files.js';
import { Functions } from '../lambda/functions.js';
import { Invocations } from '../lambda/invocations.js';
import { ClusterStorageNodes } from '../node/storage-nodes.js';
import { Upkeep } from '../repair/upkeep.js';
import { limitsCheck } from '../lambda/function-limits.js';
import type { DocumentSource } from '../state/document.js';
import { Snapshot, snapshotPath } from '../state/snapshot.js';
import { Pins } from '../vfs/pins.js';
import { FsUpkeep } from '../vfs/upkeep.js';
import { FsUseCases } from '../vfs/use-cases.js';
import type { Instance } from './instance.js';
import type { LoopRow, Loops } from './loops.js';
import type { Nodes } from './nodes.js';
import type { Starting } from './starting.js';

const MAINTENANCE_PERIOD_MS = 1000;
const UPKEEP_PERIOD_MS = 500;
const SCRUB_PERIOD_MS = 60_000;

export interface Storage {
  readonly files: FileUseCases;
  readonly fs: FsUseCases;
  readonly upkeep: Upkeep;
  readonly invocations: Invocations;
  readonly document: DocumentSource;
  readonly snapshot: Snapshot;
  readonly loops: readonly LoopRow[];
}

/** Kicks `loops` that have new work. */
export async function composeStorage(
  { settings, log }: Starting,
  { store, events, registry, tokenKey }: Instance,
  { context, lambda }: Nodes,
  loops: Loops,
): Promise<Storage> {
  const deps = {
    store: store.files,
    fs: store.fs,
    pins: new Pins(systemClock),
    replicas: store.replicas,
    marks: store.marks,
    nodes: new ClusterStorageNodes(context),
    room: new Room(),
    signer: tokenKey,
    clock: systemClock,
    log,
    settings,
    events,
  };
  const deletion = (): void => {
    loops.kick('file maintenance');
  };
  const repair = (): void => {
    loops.kick('repair');
  };
  const upkeep = new Upkeep(deps, { repair, deletion });
  events.listen(({ type, subject }) => {
    if (type.startsWith('node.') || type === 'file.under_replicated') upkeep.nodeChanged(type, subject);
  });
  const files = new FileUseCases(deps, deletion);
  const maintenance = new FileMaintenance(deps, files.uploads.calls);
  await files.uploads.renewAll();
  const fsUpkeep = new FsUpkeep(deps, deletion);
  const fs = new FsUseCases(deps, files.uploads, deletion, fsUpkeep);
  const callerFiles = new CallerFiles(fs, files);
  const functions = new Functions(fs, callerFiles, systemClock, limitsCheck(settings));
  const document: DocumentSource = {
    archive: store.archive,
    nodes: () => registry.list(),
    head: { instance: settings.instance, nexus_version: VERSION },
  };
  const { volumes } = context.hostings.own;
  const path = snapshotPath(settings.stateDir);
  const snapshot = new Snapshot({ source: document, volumes, path, clock: systemClock, log });
  // Loops that ask agents pause meanwhile: they would only note silence that is not the agents' fault.
  const unlessCut = (tick: LoopRow['tick']) => async (signal: AbortSignal) => {
    if (context.causes.silenceCounts) await tick(signal);
  };
  return {
    files,
    fs,
    upkeep,
    invocations: new Invocations(lambda.invoker, functions, callerFiles, systemClock),
    document,
    snapshot,
    loops: [
      { name: 'file maintenance', periodMs: MAINTENANCE_PERIOD_MS, tick: (signal) => maintenance.tick(signal) },
      { name: 'file system upkeep', periodMs: MAINTENANCE_PERIOD_MS, tick: () => fsUpkeep.tick() },
      { name: 'state snapshot', periodMs: MAINTENANCE_PERIOD_MS, tick: () => snapshot.tick() },
      { name: 'repair', periodMs: UPKEEP_PERIOD_MS, tick: unlessCut((signal) => upkeep.repair.tick(signal)) },
      { name: 'inventory', periodMs: UPKEEP_PERIOD_MS, tick: unlessCut((signal) => upkeep.inventory.tick(signal)) },
      { name: 'scrub', periodMs: SCRUB_PERIOD_MS, tick: unlessCut((signal) => upkeep.scrub.tick(signal)) },
    ],
  };
}

/**
 * Opens what every agent needs: its volume with the chunks on it, its receipt key, its cgroup. None of it depends on which
 * node's agent it is, so that the agent of a spare has it before anybody asks for a node.
 */
import { existsSync } from 'node:fs';
import { dirname, join } from 'node:path';
import type { AgentPlaces } from '../shared/config/agent-config.js';
import { systemClock } from '../shared/async/clock.js';
import type { SigningKey } from '../shared/chunk-token.js';
import { ChunkStore } from './chunk/store.js';
import { transferBound, Transfers } from './chunk/transfers.js';
import type { AgentLog } from './log.js';
import { loadReceiptKey } from './receipt-key.js';
import { cgroupReader, type CgroupReader } from './usage.js';
import { VolumeFlush } from './volume/flush.js';
import { VolumeHealth } from './volume/health.js';
import type { Volume } from './volume/port.js';
import { FileProber } from './volume/probe.js';

/** Beside the agent in a node's runtime. */
const SYNC = join(dirname(process.argv[1] ?? '.'), 'bin', 'volume-sync');

export interface Ground {
  readonly cgroup: CgroupReader;
  /** Not started. */
  readonly health: VolumeHealth;
  readonly store: ChunkStore;
  readonly receiptKey: SigningKey;
  readonly transfers: Transfers;
  /** Undefined: the volume is a folder of the host's, or this is not a node's runtime. */
  readonly flush: VolumeFlush | undefined;
  /** Set: called when the volume's condition has become another. */
  tellHealth: () => void;
}

/** `makeVolume`: the volume for a store that uses so many bytes. */
export async function openGround(
  places: AgentPlaces,
  makeVolume: (storedBytes: () => number) => Promise<Volume>,
  log: AgentLog,
): Promise<Ground> {
  const cgroup = cgroupReader(places.cgroup);
  // The volume needs the store's usage for its bound, and the store needs the volume.
  let storedBytes = (): number => 0;
  const volume = await makeVolume(() => storedBytes());
  let tellHealth = (): void => undefined;
  const health = new VolumeHealth({
    volume,
    prober: new FileProber(places.dataDir),
    clock: systemClock,
    log,
    onChange: () => tellHealth(),
  });
  const store = new ChunkStore({ volume, clock: systemClock, log, health });
  storedBytes = () => store.storedBytes;
  await store.recover();
  const receiptKey = await loadReceiptKey(places.dataDir);
  const transfers = new Transfers(transferBound((await cgroup.read()).memoryLimitBytes));
  return {
    cgroup,
    health,
    store,
    receiptKey,
    transfers,
    flush: places.volume.kind === 'mounted' && existsSync(SYNC) ? new VolumeFlush(SYNC, places.dataDir) : undefined,
    set tellHealth(tell: () => void) {
      tellHealth = tell;
    },
  };
}

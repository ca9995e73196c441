/** Dependencies of repair, scrub, inventory, drain and rebalance. */
import type { Settings } from '../../shared/config/settings.js';
import type { FileDeps } from '../file/deps.js';
import type { MarkStore } from '../store/port/replicas.js';

export interface RepairDeps extends Omit<FileDeps, 'settings'> {
  readonly marks: MarkStore;
  readonly settings: Pick<
    Settings,
    | 'repairConcurrency'
    | 'repairRateMb'
    | 'scrubRateMb'
    | 'scrubIntervalHours'
    | 'orphanGraceMs'
    | 'inventoryIntervalMs'
  >;
}

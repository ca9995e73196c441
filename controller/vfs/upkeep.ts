/** Finishes removals: deletes detached subtrees in steps, and content that had readers when its entry was removed. */
import { toNexusError } from '../../shared/errors.js';
import type { FileId } from '../../shared/ids.js';
import type { FileDeps } from '../file/deps.js';
import type { Sums } from '../store/port/fs.js';
import { addSums, NOTHING } from '../store/port/fs-rules.js';

/** Entries removed in one transaction: other callers wait for it. */
const ENTRIES_PER_STEP = 500;

type Deps = Pick<FileDeps, 'fs' | 'pins' | 'clock' | 'log'>;

/** Safe to run concurrently: each step takes what is left. */
export async function reapAll({ fs, pins, clock }: Omit<Deps, 'log'>, group: string): Promise<Sums> {
  let sums = NOTHING;
  for (;;) {
    const step = await pins.during((claim) => fs.reap(group, ENTRIES_PER_STEP, { claim, now: clock.now() }));
    sums = addSums(sums, step.sums);
    if (step.isDone) return sums;
  }
}

export class FsUpkeep {
  constructor(
    private readonly deps: Deps,
    /** Called when there are chunks to delete. */
    private readonly kick: () => void,
  ) {}

  async tick(): Promise<void> {
    const { fs, log } = this.deps;
    for (const group of await fs.detachedGroups()) {
      const { files, folders } = await reapAll(this.deps, group);
      log.info({ files, folders }, 'a removal that was cut short has been finished');
      this.kick();
    }
    for (const file of await fs.retired()) {
      await this.#drop(file).catch((error: unknown) => {
        log.warn({ file, said: toNexusError(error).message }, 'replaced content could not be removed yet');
      });
    }
  }

  async #drop(file: FileId): Promise<void> {
    const { fs, pins } = this.deps;
    const dropped = await pins.during(async (claim) => {
      if (!claim(file)) return false;
      await fs.dropRetired([file]);
      return true;
    });
    if (dropped) this.kick();
  }
}

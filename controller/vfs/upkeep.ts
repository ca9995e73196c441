/** Finishes removals: deletes detached subtrees in steps, and content that had readers when its entry was removed. */
import { toNexusError } from '../../shared/errors.js';
import type { FileId } from '../../shared/ids.js';
import type { FileDeps } from '../file/deps.js';
import type { Sums } from '../store/port/fs.js';
import { addSums, NOTHING } from '../store/port/fs-rules.js';

/**
 * Entries removed in one transaction. Other callers wait for it, about a tenth of a second; but the rows lie all over the
 * tables, so that smaller steps write the same pages again and again.
 */
const ENTRIES_PER_STEP = 2000;

type Deps = Pick<FileDeps, 'fs' | 'pins' | 'clock' | 'log'>;

export class FsUpkeep {
  /** Groups that are being deleted now. A second one that took a part would make the sums of the first untrue. */
  readonly #reaping = new Set<string>();

  constructor(
    private readonly deps: Deps,
    /** Called when there are chunks to delete. */
    private readonly kick: () => void,
  ) {}

  /** Deletes a detached group, and returns the sums of what was in it. One call at a time for a group. */
  async reap(group: string): Promise<Sums> {
    const { fs, pins, clock } = this.deps;
    this.#reaping.add(group);
    try {
      let sums = NOTHING;
      for (;;) {
        const step = await pins.during((claim) => fs.reap(group, ENTRIES_PER_STEP, { claim, now: clock.now() }));
        sums = addSums(sums, step.sums);
        if (step.isDone) return sums;
      }
    } finally {
      this.#reaping.delete(group);
    }
  }

  async tick(): Promise<void> {
    const { fs, log } = this.deps;
    for (const group of await fs.detachedGroups()) {
      if (this.#reaping.has(group)) continue;
      const { files, folders } = await this.reap(group);
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

/**
 * Runs work that follows a commit. Its failure does not undo the commit, so it is logged and not returned: the caller
 * would believe that nothing happened.
 */
import type { Logger } from '../../shared/log.js';

/** Returns the result of `work`, or undefined when it failed, which is logged. Never rejects. */
export async function afterCommit<Result>(
  log: Logger,
  what: string,
  work: () => Promise<Result>,
): Promise<Result | undefined> {
  try {
    return await work();
  } catch (error) {
    log.error({ err: error }, `it is committed, but the controller could not ${what} afterwards`);
    return undefined;
  }
}

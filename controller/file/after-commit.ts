/**
 * What is done after a commit can't undo it: were its failure the answer, the caller would be told that nothing happened
 * and find that it did.
 */
import type { Logger } from '../../shared/log.js';

/** The result of `work`, or undefined when it failed, which is logged. Never rejects. */
export async function afterCommit<Result>(
  log: Logger,
  what: string,
  work: () => Promise<Result>,
): Promise<Result | undefined> {
  try {
    return await work();
  } catch (error) {
    log.error({ err: error }, `it is committed, and afterwards the controller could not ${what}`);
    return undefined;
  }
}

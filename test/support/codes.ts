/** What a call came to: the code of its error, or that it was accepted. */
import { NexusError } from '../../shared/errors.js';

export async function codeOf(work: () => unknown): Promise<string> {
  try {
    await work();
  } catch (error) {
    return error instanceof NexusError ? error.code : String(error);
  }
  return 'accepted';
}

/** The error itself; fails when there is none. */
export async function errorOf(work: () => unknown): Promise<NexusError> {
  try {
    await work();
  } catch (error) {
    if (error instanceof NexusError) return error;
    throw error;
  }
  throw new Error('an error was expected, and there was none');
}

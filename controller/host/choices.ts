/** What was chosen for a cluster's nodes, kept beside its state for the next start. */
import { join } from 'node:path';
import { CHOICES_FILE, rememberedRuntime } from '../../shared/config/choices.js';
import type { Settings } from '../../shared/config/settings.js';
import { NexusError } from '../../shared/errors.js';
import type { Logger } from '../../shared/log.js';
import { writeSecret } from './secret-file.js';

/** To be called with the instance's lock held. Code: failed_precondition, naming the way out. */
export async function rememberChoices(
  { stateDir, runtime }: Pick<Settings, 'stateDir' | 'runtime'>,
  hasNodes: boolean,
  log: Logger,
): Promise<void> {
  const before = rememberedRuntime(stateDir);
  if (before === runtime) return;
  if (hasNodes && before !== undefined)
    throw new NexusError(
      'failed_precondition',
      `the nodes of this cluster were made with the runtime ${before}, and ${runtime} was asked for; leave that out, or remove the nodes first (nexus node rm, or nexus down --purge)`,
    );
  await writeSecret(join(stateDir, CHOICES_FILE), `${JSON.stringify({ runtime })}\n`).catch((error: unknown) => {
    // A cluster of before this file was there, on a full disk: it can run all the same.
    if (!hasNodes) throw error;
    log.warn({ err: error }, 'the runtime of the nodes could not be remembered');
  });
}

/** All kinds of hosting, and the opening of the one that the settings ask for. A new kind is a folder here and a row. */
import { RUNTIMES, type HostingKind } from '../../shared/config/runtimes.js';
import type { Settings } from '../../shared/config/settings.js';
import { NexusError } from '../../shared/errors.js';
import { contained } from './contained/profile.js';
import type { Hosting, HostingDeps, HostingProfile, Hostings } from './port.js';
import { plainProcess } from './process/profile.js';

export const PROFILES: Readonly<Record<HostingKind, HostingProfile>> = { contained, process: plainProcess };

/** Checks the host for what `--runtime` means, and changes nothing. Code: failed_precondition, with advice. */
export const checkHost = (settings: Pick<Settings, 'runtime'>): Promise<void> =>
  PROFILES[RUNTIMES[settings.runtime].hosting].check(settings);

/** Opens what `--runtime` means. Code: failed_precondition. */
export async function openHostings(deps: HostingDeps): Promise<Hostings> {
  return hostings(await PROFILES[RUNTIMES[deps.settings.runtime].hosting].open(deps));
}

/** The hosting of new nodes first. */
export function hostings(own: Hosting, ...others: readonly Hosting[]): Hostings {
  const all = [own, ...others];
  return {
    own,
    all,
    of: ({ name, hosting: { kind } }) => {
      const found = all.find((hosting) => hosting.kind === kind);
      if (found !== undefined) return found;
      throw new NexusError(
        'failed_precondition',
        `node ${name} is of the kind "${kind}", which this controller does not run; start the controller with the runtime that the node was made with`,
      );
    },
  };
}

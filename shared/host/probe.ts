/**
 * Can this host run Nexus, and what has to change? Looks and never changes; every probe ends in bounded time.
 * Which checks there are depends on the runtime: the process runtime needs no root and hardly anything of the kernel.
 */
import { abilitiesOf } from '../config/runtimes.js';
import type { Settings } from '../config/settings.js';
import { probeKernel } from './kernel.js';
import { probeNetwork } from './network.js';
import { probePrograms } from './programs.js';
import type { HostReport, ProbeInput } from './report.js';
import { probeResources, probeSetUp } from './resources.js';
import { systemSources, type HostSources } from './sources.js';

/** `projectRoot` is the folder with dist/ and .cache/. */
export async function examineHost(
  settings: Settings,
  projectRoot: string,
  sources: HostSources = systemSources(),
): Promise<HostReport> {
  const input: ProbeInput = { settings, sources, projectRoot };
  const always = [probePrograms(input), probeResources(input)];
  const containers = async (): Promise<HostReport['checks']> =>
    (await Promise.all([probeKernel(input), probeNetwork(input), probeSetUp(input)])).flat();
  const parts = await Promise.all([...(abilitiesOf(settings.runtime).needsRoot ? [containers()] : []), ...always]);
  const checks = parts.flat();
  return { ok: checks.every((check) => check.ok), checks };
}

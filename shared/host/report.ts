/** What `nexus doctor` finds: one check for each thing that a host must have, with what to do where it has not. */
import type { Settings } from '../config/settings.js';
import type { HostSources } from './sources.js';

export interface HostCheck {
  readonly name: string;
  /** False: nodes can't run, or not properly, until `advice` is followed. */
  readonly ok: boolean;
  readonly found: string;
  /** What to do; empty when there is nothing. A check that is ok may still have some. */
  readonly advice: string;
}

export interface HostReport {
  /** Whether every check is ok. */
  readonly ok: boolean;
  readonly checks: readonly HostCheck[];
}

/** What every probe looks at. */
export interface ProbeInput {
  readonly settings: Settings;
  readonly sources: HostSources;
  /** The folder with dist/ and .cache/. */
  readonly projectRoot: string;
}

export const passed = (name: string, found: string, advice = ''): HostCheck => ({ name, ok: true, found, advice });

export const failed = (name: string, found: string, advice: string): HostCheck => ({ name, ok: false, found, advice });

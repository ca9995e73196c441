/** Results of `nexus doctor`: one check for each requirement of the host, with advice where it is not met. */
import type { Settings } from '../config/settings.js';
import type { HostSources } from './sources.js';

export interface HostCheck {
  readonly name: string;
  /** False: nodes can't run, or not properly, until `advice` is followed. */
  readonly ok: boolean;
  readonly found: string;
  /** The remedy; empty if none is needed. A check that is ok may have advice as well. */
  readonly advice: string;
}

export interface HostReport {
  /** Whether every check is ok. */
  readonly ok: boolean;
  readonly checks: readonly HostCheck[];
}

/** Input of every probe. */
export interface ProbeInput {
  readonly settings: Settings;
  readonly sources: HostSources;
  /** The folder with dist/ and .cache/. */
  readonly projectRoot: string;
}

export const passed = (name: string, found: string, advice = ''): HostCheck => ({ name, ok: true, found, advice });

export const failed = (name: string, found: string, advice: string): HostCheck => ({ name, ok: false, found, advice });

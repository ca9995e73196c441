/**
 * Which controller a command means. An ordinary user may have an instance of their own (process runtime, own folders)
 * or mean the host's, which belongs to root: the one that is there decides, and a runc cluster always belongs to root.
 */
import { accessSync, constants, existsSync } from 'node:fs';
import { abilitiesOf } from '../../shared/config/runtimes.js';
import { loadSettings, type SettingName, type Settings } from '../../shared/config/settings.js';

export interface Target {
  readonly settings: Settings;
  /** The caller is not root and the target is root's. */
  readonly needsRoot: boolean;
}

export interface TargetSources {
  readonly flags: Partial<Record<SettingName, string>>;
  readonly file: string | undefined;
  /** The file's content, if it has been read already. */
  readonly text?: string | undefined;
  readonly env: NodeJS.ProcessEnv;
  readonly uid?: number;
}

/** Code: invalid_argument (a setting). */
export function locateInstance(sources: TargetSources): Target {
  const uid = sources.uid ?? process.getuid?.() ?? 0;
  // The system-wide settings file describes the default instance only; which one is meant may have come as a flag.
  const instance = sources.flags.instance ?? sources.env['NEXUS_INSTANCE'];
  const env = instance === undefined ? sources.env : { ...sources.env, NEXUS_INSTANCE: instance };
  const load = (asUid: number): Settings =>
    loadSettings({ flags: sources.flags, env, file: sources.file, text: sources.text, uid: asUid });
  const own = load(uid);
  if (uid === 0 || !abilitiesOf(own.runtime).needsRoot || existsSync(own.socket))
    return { settings: own, needsRoot: false };
  const roots = load(0);
  return { settings: roots, needsRoot: !canUse(roots.socket) };
}

function canUse(socket: string): boolean {
  try {
    accessSync(socket, constants.R_OK | constants.W_OK);
    return true;
  } catch {
    return false;
  }
}

/**
 * The settings that a controller runs with, as it wrote them into its run folder when it started. `nexus up` reads them to
 * say which of its own have no effect on a cluster that is up already. For the controller's user alone: a URL may have a
 * password.
 */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { keyName } from './names.js';
import { SETTING_NAMES, type SettingName, type Settings } from './settings.js';
import { MAY_HOLD_SECRET } from './wrong.js';

const UNSET = 'unset';

export const inForceFile = ({ runDir }: Pick<Settings, 'runDir'>): string => join(runDir, 'settings.json');

/** `null` for what is unset: another version may lack a setting, which is no difference. */
export const inForceText = (settings: Settings): string =>
  `${JSON.stringify(Object.fromEntries(SETTING_NAMES.map((name) => [name, settings[name] ?? null])))}\n`;

/**
 * Each setting that is another one in the running controller, in words, of those that `isMeant` says. Empty, too, if that
 * cannot be known.
 */
export function withoutEffect(
  settings: Settings,
  isMeant: (name: SettingName) => boolean = () => true,
): readonly string[] {
  const inForce = readInForce(settings);
  return SETTING_NAMES.filter(isMeant).flatMap((name) => {
    const [is, asked] = [inForce[name], settings[name] ?? null];
    if (is === undefined || is === asked) return [];
    const shown = (value: string | number | null): string => (value === null ? UNSET : String(value));
    const values = MAY_HOLD_SECRET.test(name) ? 'is another one' : `is ${shown(is)}, not ${shown(asked)}`;
    return [`${keyName(name)} ${values}`];
  });
}

function readInForce(settings: Settings): Readonly<Record<string, string | number | null>> {
  try {
    return JSON.parse(readFileSync(inForceFile(settings), 'utf8')) as Record<string, string | number | null>;
  } catch {
    // None from a controller of an earlier version, or one that could not write it.
    return {};
  }
}

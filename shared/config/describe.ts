/** Each setting in words, from the one schema; for the sample file. */
import { environmentName, keyName, SETTING_NAMES, settingsSchema } from './settings.js';
import { allowedOf, rulesOf } from './wrong.js';

export interface SettingDescription {
  /** As it stands in a file. */
  readonly key: string;
  readonly variable: string;
  readonly description: string;
  /** Undefined: none, or one that follows from other settings. */
  readonly fallback: unknown;
  /** For people: the values or the range; empty where any text will do. */
  readonly allowed: string;
}

/** In the order of the table. */
export function describeSettings(): readonly SettingDescription[] {
  return SETTING_NAMES.map((name) => {
    const field = settingsSchema.shape[name];
    const description = field.description;
    if (description === undefined) throw new Error(`setting ${name} lacks a description`);
    return {
      key: keyName(name),
      variable: environmentName(name),
      description,
      fallback: rulesOf(field).default,
      allowed: allowedOf(field),
    };
  });
}

/** Each setting in words, from the one schema; for the sample file. */
import { z } from 'zod';
import { environmentName, keyName, SETTING_NAMES, settingsSchema } from './settings.js';

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
    const rules = z.toJSONSchema(field, { io: 'output', unrepresentable: 'any' });
    return {
      key: keyName(name),
      variable: environmentName(name),
      description,
      fallback: rules.default,
      allowed: allowedOf(rules),
    };
  });
}

function allowedOf({ enum: options, minimum, maximum }: z.core.JSONSchema.BaseSchema): string {
  if (options !== undefined) return `one of ${options.join(', ')}`;
  if (minimum === undefined || maximum === undefined) return '';
  return `from ${minimum} to ${maximum}`;
}

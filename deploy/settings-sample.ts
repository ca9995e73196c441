/**
 * The annotated sample settings, from the schema: every setting with what it means, what it may be, its default and its
 * variable. All of it is commented out, so that the file says nothing until somebody decides something.
 *
 *   npm run sample        writes deploy/nexus.sample.yaml
 */
import { writeFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { stringify } from 'yaml';
import { describeSettings, type SettingDescription } from '../shared/config/describe.js';

export const SAMPLE_FILE = fileURLToPath(new URL('nexus.sample.yaml', import.meta.url));

const HEAD = `# Settings of Nexus, all of them, with their defaults. The file is read from /etc/nexus/nexus.yaml, or from what
# --config or NEXUS_CONFIG names. Flags override variables, which override this file, which overrides defaults. An unknown key
# is an error. Generated from shared/config/settings.ts by: npm run sample
`;

export const sampleText = (): string => [HEAD, ...describeSettings().map(paragraph)].join('\n');

function paragraph({ key, variable, description, fallback, allowed }: SettingDescription): string {
  const facts = [...(allowed === '' ? [] : [allowed]), variable];
  const value = fallback === undefined ? '' : ` ${stringify(fallback).trim()}`;
  return `# ${description}\n# ${facts.join('; ')}\n# ${key}:${value}\n`;
}

if (process.argv[1] === fileURLToPath(import.meta.url)) writeFileSync(SAMPLE_FILE, sampleText());

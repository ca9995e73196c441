/** The password that a command was given: from a file, from a person, or from a pipe. */
import type { FlagSpec } from '../runner/command.js';
import type { Prompt } from './prompt.js';

export const PASSWORD_FILE_FLAG = {
  type: 'string',
  hint: 'FILE',
  description: 'take the password from the first line of this file (default: ask, or read a line of standard input)',
  field: 'password',
} as const satisfies FlagSpec;

/** One that exists already. Codes: as Prompt and readSecretFile. */
export async function knownPassword(file: string | undefined, prompt: Prompt): Promise<string> {
  return (await fromFile(file, prompt.signal)) ?? (await prompt.askSecret('password'));
}

/** One that is being chosen: whoever types it types it twice. */
export async function newPassword(file: string | undefined, prompt: Prompt): Promise<string> {
  return (await fromFile(file, prompt.signal)) ?? (await prompt.askNewSecret('password'));
}

async function fromFile(file: string | undefined, signal: AbortSignal): Promise<string | undefined> {
  if (file === undefined) return undefined;
  const { readSecretFile } = await import('../local/secret-file.js');
  return await readSecretFile(file, signal);
}

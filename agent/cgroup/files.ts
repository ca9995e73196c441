/** Reading the small text files of a cgroup. */
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';

/** The file's text; empty when the controller is not there. */
export const cgroupText = (...path: string[]): Promise<string> => readFile(join(...path), 'utf8').catch(() => '');

/** 0 for what is no number, as `max`: one that can't be encoded would cost the whole report. */
function numberIn(text: string): number {
  const value = Number(text.trim());
  return Number.isFinite(value) ? value : 0;
}

/** The number in a file; 0 when it is missing or says `max`. */
export const cgroupNumber = async (...path: string[]): Promise<number> => numberIn(await cgroupText(...path));

/** The sum of the values of these keys in a `key value` file; what is missing counts 0. */
export async function cgroupFields(keys: readonly string[], ...path: string[]): Promise<number> {
  let sum = 0;
  for (const line of (await cgroupText(...path)).split('\n')) {
    const [key = '', value = ''] = line.split(' ');
    if (keys.includes(key)) sum += numberIn(value);
  }
  return sum;
}

/**
 * A log and the ones before it: PATH, PATH.1 (the newest of them), PATH.2, ... The writer keeps its descriptor, so that
 * whatever else holds it (Node's own last words) goes on into the present file.
 */
import { copyFile, rename, rm, truncate } from 'node:fs/promises';

/** The names of a log's files, newest first. */
export const logFileNames = (path: string, files: number): readonly string[] =>
  Array.from({ length: files }, (_, age) => (age === 0 ? path : `${path}.${age}`));

/** To be called by the file's one writer, between two lines. Never fails: a bound that can't be kept is worse than a lost log. */
export async function beginLogAnew(path: string, files: number): Promise<void> {
  const names = logFileNames(path, files);
  const older = names.slice(1);
  for (let age = older.length - 1; age > 0; age -= 1) {
    await rename(older[age - 1] ?? '', older[age] ?? '').catch(() => undefined);
  }
  const [newest] = older;
  if (newest !== undefined) {
    // On a full disk there is no room for the copy, and half of one would be in the way.
    await copyFile(path, newest).catch(() => rm(newest, { force: true }).catch(() => undefined));
  }
  await truncate(path).catch(() => undefined);
}

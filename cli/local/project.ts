/**
 * Where the project lies. The CLI runs from cli/ (sources) and from dist/cli/ (built, where shared parts may lie in a
 * folder below), so the root is found by its package.json.
 */
import { existsSync, readFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { NexusError } from '../../shared/errors.js';

export function projectRoot(): string {
  let folder = dirname(fileURLToPath(import.meta.url));
  for (;;) {
    if (existsSync(join(folder, 'package.json'))) return folder;
    const parent = dirname(folder);
    if (parent === folder) throw new NexusError('internal', 'package.json is not above the CLI; install Nexus again');
    folder = parent;
  }
}

export function readVersion(): string {
  const parsed = JSON.parse(readFileSync(join(projectRoot(), 'package.json'), 'utf8')) as { version: string };
  return parsed.version;
}

/** The built controller. Code: failed_precondition. */
export function controllerProgram(): string {
  const path = join(projectRoot(), 'dist', 'controller', 'main.js');
  if (existsSync(path)) return path;
  throw new NexusError('failed_precondition', `${path} is missing; build it with: npm run build`);
}

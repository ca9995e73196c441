/**
 * The runtime that the cluster's nodes were made with: it holds as long as they are there, so it is remembered in the state
 * folder. A start that says nothing takes it; the controller refuses one that says something else while there are nodes.
 */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { isRuntimeName, type RuntimeName } from './runtimes.js';

export const CHOICES_FILE = 'choices.json';

/** Undefined: none is remembered, or this user may not see it. */
export function rememberedRuntime(stateDir: string): RuntimeName | undefined {
  try {
    const { runtime } = JSON.parse(readFileSync(join(stateDir, CHOICES_FILE), 'utf8')) as { runtime?: unknown };
    return isRuntimeName(runtime) ? runtime : undefined;
  } catch {
    return undefined;
  }
}

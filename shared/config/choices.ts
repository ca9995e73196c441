/**
 * Choices for a cluster's nodes, in the state folder: it holds as long as they are there. A start that names no
 * runtime takes the remembered one; the controller refuses one that says something else (controller/host/choices.ts).
 */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { isRuntimeName, type RuntimeName } from './runtimes.js';

export const CHOICES_FILE = 'choices.json';

/** Fixed while there are nodes: their records, links and cgroups depend on them. */
export const WITH_NODES = ['runtime', 'instance', 'subnet'] as const;
/** Fixed while there are volumes: their files belong to these uids, even if the nodes are yet to be imported. */
export const WITH_VOLUMES = ['nodeUidBase'] as const;

/** Text by the name of the setting. Empty: none is remembered, or this user may not see it. */
export function rememberedChoices(stateDir: string): Readonly<Record<string, string>> {
  try {
    const parsed: unknown = JSON.parse(readFileSync(join(stateDir, CHOICES_FILE), 'utf8'));
    if (typeof parsed !== 'object' || parsed === null) return {};
    return Object.fromEntries(Object.entries(parsed).filter(([, value]) => typeof value === 'string'));
  } catch {
    return {};
  }
}

export function rememberedRuntime(stateDir: string): RuntimeName | undefined {
  const { runtime } = rememberedChoices(stateDir);
  return isRuntimeName(runtime) ? runtime : undefined;
}

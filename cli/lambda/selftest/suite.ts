/** The escape suite: every attack against real sandboxes of the running cluster. */
import { EXHAUSTION } from './exhaustion.js';
import { PROCESSES, TRACES } from './within.js';
import { FILES, KERNEL, NETWORK } from './beyond.js';
import type { Attack } from './attack.js';

export const ATTACKS: readonly Attack[] = [...FILES, ...KERNEL, ...NETWORK, ...PROCESSES, ...EXHAUSTION, ...TRACES];

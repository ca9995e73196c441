/** Whose things a caller may see and touch where it names them by id. */
import type { Caller } from './edge.js';

/** A user's own; undefined: everybody's. Others' are as good as not there. */
export const scopeOf = (caller: Caller): string | undefined => (caller.isAdministrator ? undefined : caller.user);

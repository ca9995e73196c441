/** Bounds of lambda that are no settings, each with its reason. */
import { KIB, MIB } from '../../shared/limits.js';

/** Code, event and standard input travel in one message of gRPC, which takes 4 MiB. */
export const MAX_CODE_BYTES = MIB;
export const MAX_EVENT_BYTES = 256 * KIB;
/** Far below what Python's own parser goes down to, and what code would have to go through by recursion. */
export const MAX_EVENT_DEPTH = 200;
/** Python reads no number of more than 4,300 digits, for the time that would take. */
export const MAX_EVENT_DIGITS = 4300;
/** Of what a handler returns, which is read as a whole; it counts as output, too. Beside it a message has room for the rest. */
export const MAX_RESULT_BYTES = MIB;
export const MAX_STDIN_BYTES = 2 * MIB;
/** Of its limit, what an invocation finds free at least where it runs alone: most code never comes near its limit. */
export const LEAST_SHARE = 0.25;
/** What a sandbox that waits costs its node: what it does not share with the template. */
export const WARM_SANDBOX_BYTES = 3 * MIB;
/** An agent that has not reported yet: what one uses. */
export const ASSUMED_AGENT_BYTES = 64 * MIB;
/** Sandboxes made for the pool at once: more would only take the processors from the invocations that run. */
export const REFILL_CONCURRENCY = 2;
/** Of all files that one invocation is given: they are copied into its memory. */
export const MAX_FILES_BYTES = 8 * MIB;
export const MAX_FILES = 64;
/** Of the code of functions that were invoked lately. */
export const FUNCTION_CACHE_BYTES = 16 * MIB;
export const LOGS_PER_FUNCTION = 100;
/** The last of one invocation's output that `logs` shows. */
export const LOGGED_OUTPUT_BYTES = 8 * KIB;
/** Functions whose logs are kept; the one that was invoked longest ago gives way. */
export const LOGGED_FUNCTIONS = 200;

/** Bounds of lambda that can't be configured, each with its reason. */
import { KIB, MIB } from '../../shared/limits.js';

/** Code, event and standard input travel in one gRPC message, which is limited to 4 MiB. */
export const MAX_CODE_BYTES = MIB;
export const MAX_EVENT_BYTES = 256 * KIB;
/** Far below the depth that Python's own parser accepts, and that code can process by recursion. */
export const MAX_EVENT_DEPTH = 200;
/** Python reads no number of more than 4,300 digits, because of the time that would take. */
export const MAX_EVENT_DIGITS = 4300;
/** A handler's result is read as a whole and counts as output, too. It leaves a message room for the rest. */
export const MAX_RESULT_BYTES = MIB;
export const MAX_STDIN_BYTES = 2 * MIB;
/** Least free share of its limit that an invocation needs where it runs alone: most code never comes near its limit. */
export const LEAST_SHARE = 0.25;
/** Memory that a waiting sandbox costs its node: what it does not share with the template. */
export const WARM_SANDBOX_BYTES = 3 * MIB;
/** Assumed memory of an agent that has not reported yet. */
export const ASSUMED_AGENT_BYTES = 64 * MIB;
/** Sandboxes made for the pool at once: more would only take processors from running invocations. */
export const REFILL_CONCURRENCY = 2;
/** All files of one invocation together: they are copied into its memory. */
export const MAX_FILES_BYTES = 8 * MIB;
export const MAX_FILES = 64;
/** Bytes of cached manifests and code of functions. */
export const FUNCTION_CACHE_BYTES = 16 * MIB;
export const LOGS_PER_FUNCTION = 100;
/** Last bytes of each invocation's output, kept for `logs`. */
export const LOGGED_OUTPUT_BYTES = 8 * KIB;
/** Functions whose logs are kept; the least recently invoked is dropped. */
export const LOGGED_FUNCTIONS = 200;

/** Bounds of lambda that are no settings, each with its reason. */
import { KIB, MIB } from '../../shared/limits.js';

/** Code, event and standard input travel in one message of gRPC, which takes 4 MiB. */
export const MAX_CODE_BYTES = MIB;
export const MAX_EVENT_BYTES = 256 * KIB;
export const MAX_STDIN_BYTES = 2 * MIB;
/** What one invocation is taken to use when it is placed, of its limit: most never come near it, and the node's own holds. */
export const RESERVED_SHARE = 0.25;
/** An agent that has not reported yet: what one uses. */
export const ASSUMED_AGENT_BYTES = 64 * MIB;
/** Sandboxes made for the pool at once: more would only take the processors from the invocations that run. */
export const REFILL_CONCURRENCY = 2;

/** Limits of the store. */

/** Events kept: a few days of a busy cluster, about 1 MB. */
export const MAX_EVENTS = 10_000;

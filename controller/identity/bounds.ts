/** Bounds of identity: of what auth.db keeps, and of what people may try. */

/** Lines of the audit log: about 15 MB, months of a busy cluster. */
export const MAX_AUDIT_LINES = 100_000;

/** Characters of a password: bounds the work of one hash. */
export const MAX_PASSWORD_CHARACTERS = 128;

/**
 * Codes that may be tried from where one was asked for, and from everywhere else together: eight in a million is the chance
 * that guessers have with each code. Apart, because whoever knows a name could otherwise use up its owner's tries.
 */
export const MAX_CODE_ATTEMPTS = 5;
export const MAX_CODE_ATTEMPTS_ELSEWHERE = 3;

/**
 * Where no further mail may go to an address, registrations share the code that was mailed last: the tries that one of
 * them has, and how many places can share it.
 */
export const MAX_SHARED_CODE_ATTEMPTS = 2;
export const MAX_CODE_SHARERS = 20;

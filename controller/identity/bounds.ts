/** Bounds of what auth.db keeps. */

/** Lines of the audit log: about 15 MB, months of a busy cluster. */
export const MAX_AUDIT_LINES = 100_000;

/** Kept apart so that it is loaded only for a terminal; a static import, because a dynamic one of CommonJS has no names. */
import cliProgress from 'cli-progress';

export const { SingleBar } = cliProgress;

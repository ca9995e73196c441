/** How a setting is called outside the code: one rule each, so that neither has to be looked up. */

/** NEXUS_STATE_DIR for `stateDir`. */
export const environmentName = (name: string): string =>
  `NEXUS_${name.replace(/[A-Z]/g, (letter) => `_${letter}`).toUpperCase()}`;

/** `state-dir` for `stateDir`: the key in files and flags. */
export const keyName = (name: string): string => name.replace(/[A-Z]/g, (letter) => `-${letter.toLowerCase()}`);

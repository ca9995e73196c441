/** Who things belong to, as both the controller and its clients must know it. */

/** The owner of what comes over the admin socket without a user's name. */
export const LOCAL_ADMINISTRATOR = 'admin';

/** User names: safe in a path, a log line and a shell. */
export const USER_NAME_PATTERN = /^[a-z][a-z0-9_-]{0,31}$/;

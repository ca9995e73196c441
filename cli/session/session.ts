/** `nexus whoami`, `nexus logout` */
import { NexusError, toNexusError } from '../../shared/errors.js';
import { command } from '../runner/command.js';
import type { Context } from '../runner/context.js';
import { facts } from '../terminal/output.js';
import { SessionFile } from '../connect/session-file.js';
import { plainShape } from '../runner/shapes.js';

export const whoami = command({
  summary: 'who you are, and where',
  details: 'Asks the cluster, so it also shows whether the login is still valid.',
  positionals: {},
  flags: {},
  examples: [
    ['nexus whoami', 'user, role, and where commands go'],
    ['nexus whoami --local', 'on this machine: the local administrator'],
  ],
  run: async (_input, context) => {
    const { call, identity } = await context.connect();
    const me = await call(identity, identity.whoAmI, {});
    const where = context.place.kind === 'gateway' ? context.place.url : `this machine, ${context.settings.socket}`;
    const url = context.place.kind === 'gateway' ? context.place.url : '';
    await context.print({ ...plainShape(me), url }, () =>
      facts([
        ['user', me.username],
        ['role', me.role],
        ['where', where],
        ...(me.email === '' ? [] : [['mail address', me.email] as const]),
        ...(me.expiresAt === '' ? [] : [['until', me.expiresAt] as const]),
      ]),
    );
    return 0;
  },
});

export const logout = command({
  summary: 'end a login; commands stay on this machine',
  details: 'The token becomes void everywhere, and is removed from the session file.',
  positionals: {},
  flags: { forget: { type: 'boolean', description: 'only remove it here, without asking the gateway' } },
  examples: [
    ['nexus logout', 'where commands go at present'],
    ['nexus logout --url https://cloud.example.org', 'of another login'],
    ['nexus logout --forget', 'when that gateway no longer exists'],
  ],
  run: async (input, context) => {
    const { place } = context;
    const file = new SessionFile(context.streams.env);
    if (place.kind === 'local' || file.find(place.url) === undefined) {
      throw new NexusError('failed_precondition', 'you are not logged in; commands go to this machine already');
    }
    const { url } = place;
    const isRevoked = input.forget ? false : await revoke(context);
    await file.remove(url);
    const why = input.forget
      ? '; the token stays valid until it expires'
      : isRevoked
        ? ''
        : '; the token was void already';
    await context.print({ url, revoked: isRevoked }, () => `logged out of ${url}${why}`);
    return 0;
  },
});

/** False: there was nothing to revoke any more. */
async function revoke(context: Context): Promise<boolean> {
  try {
    const { call, identity } = await context.connect();
    await call(identity, identity.logout, {});
    return true;
  } catch (thrown) {
    const error = toNexusError(thrown);
    if (error.code === 'unauthenticated') return false;
    throw error.saying(`${error.message}; --forget removes the login here alone`);
  }
}

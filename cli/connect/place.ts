/**
 * Chooses the cluster that a command goes to: one of this machine through its admin socket, or any through a gateway.
 * The nearest source decides: flags, then the environment, then the current login.
 */
import { systemClock } from '../../shared/async/clock.js';
import { NexusError } from '../../shared/errors.js';
import { gatewayUrl } from './gateway-url.js';
import { SessionFile, type SavedSession } from './session-file.js';

export interface PlaceFlags {
  readonly url: string | undefined;
  readonly local: boolean;
  readonly instance: string | undefined;
  readonly asUser: string | undefined;
}

/** `saidBy`: the source, which has to be left out to reach this machine's cluster. */
export type Place =
  | { readonly kind: 'local' }
  | { readonly kind: 'gateway'; readonly url: string; readonly saidBy: '--url' | 'NEXUS_URL' | 'login' };

/** Variables that name a cluster of this machine. */
const LOCAL_VARIABLES = ['NEXUS_INSTANCE', 'NEXUS_SOCKET'] as const;

/** Codes: invalid_argument (flags that exclude each other, a wrong URL), failed_precondition (the session file). */
export function choosePlace(flags: PlaceFlags, env: NodeJS.ProcessEnv): Place {
  const local = [
    ...(flags.local ? ['--local'] : []),
    ...(flags.instance === undefined ? [] : ['--instance']),
    ...(flags.asUser === undefined ? [] : ['--as']),
  ];
  if (flags.url !== undefined) {
    if (local[0] === undefined) return { kind: 'gateway', url: gatewayUrl(flags.url, '--url'), saidBy: '--url' };
    throw new NexusError(
      'invalid_argument',
      `--url and ${local[0]} exclude each other: ${local[0]} means a cluster of this machine`,
    );
  }
  if (local.length > 0) return { kind: 'local' };
  const variable = env['NEXUS_URL'];
  if (isGiven(variable)) return { kind: 'gateway', url: gatewayUrl(variable, 'NEXUS_URL'), saidBy: 'NEXUS_URL' };
  if (LOCAL_VARIABLES.some((name) => isGiven(env[name]))) return { kind: 'local' };
  const session = new SessionFile(env).current();
  return session === undefined ? { kind: 'local' } : { kind: 'gateway', url: session.url, saidBy: 'login' };
}

const isGiven = (value: string | undefined): value is string => value !== undefined && value !== '';

/** Code: unauthenticated (not logged in there, or no longer). */
export function sessionFor(url: string, env: NodeJS.ProcessEnv, now = systemClock.now()): SavedSession {
  const session = new SessionFile(env).find(url);
  if (session === undefined) throw new NexusError('unauthenticated', `you are not logged in; run: nexus login ${url}`);
  if (Date.parse(session.expires_at) > now) return session;
  throw new NexusError('unauthenticated', `your login has ended at ${session.expires_at}; run: nexus login ${url}`);
}

/** Refuses commands that only make sense where the cluster runs. Code: failed_precondition. */
export function assertLocal(place: Place): void {
  if (place.kind === 'local') return;
  const way = { '--url': 'leave out --url', NEXUS_URL: 'unset NEXUS_URL', login: 'log out with nexus logout' };
  throw new NexusError(
    'failed_precondition',
    `this command acts on the machine where it runs, and your commands go to ${place.url}; add --local, or ${way[place.saidBy]}`,
  );
}

/** The two steps that a login and a registration have in common, and what is kept of them. */
import { inCommandWords } from '../../shared/advice/command-words.js';
import { NexusError, toNexusError } from '../../shared/errors.js';
import type { Session } from '../../shared/gen/nexus/v1/identity.js';
import type { FlagSpecs } from '../runner/command.js';
import type { Controller } from '../connect/connection.js';
import type { Context } from '../runner/context.js';
import { facts } from '../terminal/output.js';
import { gatewayUrl, isReadableByOthers } from '../connect/gateway-url.js';
import { choosePlace } from '../connect/place.js';
import type { Prompt } from '../terminal/prompt.js';
import { SessionFile } from '../connect/session-file.js';

export const CA_FILE_FLAG = {
  'ca-file': {
    type: 'string',
    hint: 'FILE',
    description: 'authority that signed the certificate of the gateway, PEM (default: those that Node knows)',
  },
} as const satisfies FlagSpecs;

/** A person who mistypes need not begin again; the controller bounds attempts by itself. */
const CODE_ATTEMPTS = 3;

export interface Opening {
  readonly url: string;
  readonly caFile: string | undefined;
  /** Has a code mailed; answers how the code that came is exchanged for a session. */
  readonly begin: (gateway: Controller) => Promise<(code: string) => Promise<Session | undefined>>;
}

/** Code: invalid_argument (no URL, or a wrong one). */
export function urlFor(typed: string | undefined, context: Context): string {
  if (typed !== undefined) return gatewayUrl(typed, 'URL');
  if (context.place.kind === 'gateway') return context.place.url;
  throw new NexusError('invalid_argument', 'which gateway? give its URL, for example http://127.0.0.1:8080');
}

/** Opens a session, keeps it in the session file and prints where commands go from now on. */
export async function openSession(context: Context, prompt: Prompt, opening: Opening): Promise<void> {
  const { url, caFile } = opening;
  if (isReadableByOthers(url)) {
    context.note(`warning: ${url} is not encrypted; others on the way can read the password and use the session`);
  }
  const { openGateway } = await import('../connect/gateway-connection.js');
  const gateway = await openGateway({ url, caFile }, context.signal);
  try {
    const redeem = await opening.begin(gateway);
    context.note('a code is on its way to the mail address of the account');
    const session = await askCode(context, prompt, redeem);
    const { username, token, expiresAt: expires_at } = session;
    const file = new SessionFile(context.streams.env);
    await file.save({ url, username, token, expires_at, ...(caFile === undefined ? {} : { ca_file: caFile }) });
    await context.print({ url, username, expires_at }, () =>
      facts([
        ['logged in to', url],
        ['as', username],
        ['until', expires_at],
      ]),
    );
    // Chosen again: the session that was just stored can change the place.
    if (choosePlace(context.options, context.streams.env).kind === 'local')
      context.note(`commands act on this machine while NEXUS_INSTANCE is set; use --url ${url} for the gateway`);
  } finally {
    await gateway.close().catch(() => undefined);
  }
}

async function askCode(
  context: Context,
  prompt: Prompt,
  redeem: (code: string) => Promise<Session | undefined>,
): Promise<Session> {
  const attempts = context.streams.stdin.isTTY === true ? CODE_ATTEMPTS : 1;
  for (let attempt = 1; ; attempt += 1) {
    try {
      const session = await redeem((await prompt.ask('code')).trim());
      if (session !== undefined) return session;
      throw new NexusError('internal', 'the gateway answered without a session');
    } catch (thrown) {
      const error = toNexusError(thrown);
      if (error.code !== 'unauthenticated' || attempt === attempts) throw error;
      context.note(inCommandWords(error));
    }
  }
}

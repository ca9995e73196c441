/** Accounts: register and log in with a code by mail, out again, and the keys that tokens are checked with. */
import { z } from 'zod';
import type { Session as OpenedSession } from '../../../../shared/gen/nexus/v1/identity.js';
import { NexusError } from '../../../../shared/errors.js';
import { plainShape } from '../../../../shared/rpc/shapes.js';
import { route, type Reply, type Route } from '../../../http/route.js';
import { jwksSchema, messageSchema, sessionSchema, whoAmISchema } from '../schemas.js';

const tag = 'accounts';
const text = z.string().max(512);
const username = text.describe('1 to 32 lower-case letters, digits, - and _, beginning with a letter');
const password = text.describe('8 to 128 characters');
const email = text;
const code = text.describe('the six digits from the mail');
/** New keys sign at once, but old ones go on to verify: a few minutes late is early enough. */
const KEYS_CACHE_CONTROL = 'public, max-age=300';

const CODE_SENT = 'if name, address and password allow it, a code is on its way by mail';

export const authRoutes: readonly Route[] = [
  route({
    method: 'post',
    path: '/auth/register/init',
    tag,
    summary: 'Begin a registration: a code goes to the address',
    isPublic: true,
    body: z.strictObject({ username, password, email }),
    answers: { 200: { description: 'the same whether name and address are free or not', schema: messageSchema } },
    handle: async ({ session, body }) => {
      await session.call(session.identity.initRegistration, body);
      return { body: { message: CODE_SENT } };
    },
  }),
  route({
    method: 'post',
    path: '/auth/register/verify',
    tag,
    summary: 'Create the account with the code from the mail',
    isPublic: true,
    body: z.strictObject({ email, code }),
    answers: { 200: { description: 'the account is created and logged in', schema: sessionSchema } },
    handle: async ({ session, body }) => {
      const made = await session.call(session.identity.verifyRegistration, body);
      return opened(made.session);
    },
  }),
  route({
    method: 'post',
    path: '/auth/login/init',
    tag,
    summary: 'Begin a login: a code goes to the account’s address',
    isPublic: true,
    body: z.strictObject({ username: username.describe('name or mail address'), password }),
    answers: { 200: { description: 'the same whether the password is right or not', schema: messageSchema } },
    handle: async ({ session, body }) => {
      await session.call(session.identity.initLogin, body);
      return { body: { message: CODE_SENT } };
    },
  }),
  route({
    method: 'post',
    path: '/auth/login/verify',
    tag,
    summary: 'Log in with the code from the mail',
    isPublic: true,
    body: z.strictObject({
      email: email.optional(),
      username: username.optional().describe('instead of the address'),
      code,
    }),
    answers: { 200: { description: 'logged in', schema: sessionSchema } },
    handle: async ({ session, body }) => {
      const given = { email: body.email ?? '', username: body.username ?? '', code: body.code };
      const made = await session.call(session.identity.verifyLogin, given);
      return opened(made.session);
    },
  }),
  route({
    method: 'post',
    path: '/auth/logout',
    tag,
    summary: 'Revoke the token of this request',
    answers: { 204: { description: 'revoked' } },
    handle: async ({ session }) => {
      await session.call(session.identity.logout, {});
      return {};
    },
  }),
  route({
    method: 'get',
    path: '/auth/whoami',
    tag,
    summary: 'Who the token of this request belongs to',
    answers: { 200: { description: 'the account', schema: whoAmISchema } },
    handle: async ({ session }) => ({
      body: plainShape(await session.call(session.identity.whoAmI, {})),
    }),
  }),
  route({
    method: 'get',
    path: '/.well-known/jwks.json',
    tag,
    summary: 'The public keys that tokens are checked with',
    isPublic: true,
    answers: { 200: { description: 'a JSON Web Key Set', schema: jwksSchema } },
    handle: async ({ session }) => {
      const { keys } = await session.call(session.identity.getSigningKeys, {});
      const kind = { kty: 'EC', crv: 'P-256', alg: 'ES256', use: 'sig' };
      return {
        body: { keys: keys.map((key) => ({ ...kind, ...key })) },
        headers: { 'Cache-Control': KEYS_CACHE_CONTROL },
      };
    },
  }),
];

function opened(session: OpenedSession | undefined): Reply {
  if (session === undefined) throw new NexusError('internal', 'the controller answered without a session');
  return { body: plainShape(session), headers: { 'Cache-Control': 'no-store' } };
}

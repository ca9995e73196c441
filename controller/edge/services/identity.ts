/** IdentityService: validates requests, calls use cases, converts records. */
import { z } from 'zod';
import { MAX_PASSWORD_CHARACTERS } from '../../identity/bounds.js';
import { NexusError } from '../../../shared/errors.js';
import type { AuditEntry, IdentityServiceServer, Session, User } from '../../../shared/gen/nexus/v1/identity.js';
import type { Origin, Session as OpenedSession } from '../../identity/deps.js';
import { CODE_PATTERN } from '../../identity/otp.js';
import type { AuditRecord, UserRecord } from '../../identity/port.js';
import { emailComplaint, normaliseEmail, userNameComplaint } from '../../identity/rules.js';
import type { IdentityUseCases } from '../../identity/use-cases.js';
import type { Caller, Edge } from '../admission.js';
import { unary } from '../handlers.js';
import { parseRequest } from '../validate.js';

const MAX_PER_PAGE = 1000;

const complaining = (complaint: (text: string) => string | undefined) => (text: string, context: z.RefinementCtx) => {
  const found = complaint(text);
  if (found !== undefined) context.addIssue(found);
};
const username = z.string().superRefine(complaining(userNameComplaint));
const email = z.string().max(300, 'is too long').transform(normaliseEmail).superRefine(complaining(emailComplaint));
/** At most four UTF-16 units per character; the exact rule also needs the name and address. */
const password = z.string().max(4 * MAX_PASSWORD_CHARACTERS, `must have at most ${MAX_PASSWORD_CHARACTERS} characters`);
const code = z.string().trim().regex(CODE_PATTERN, 'must be six digits');
const role = z.enum(['user', 'admin'], 'must be user or admin');
/** Login name: an email address if it contains an @, otherwise a username. */
const account = z.string().transform((text, context) => {
  const parsed = (text.includes('@') ? email : username).safeParse(text);
  if (parsed.success) return parsed.data;
  context.addIssue(parsed.error.issues[0]?.message ?? 'invalid');
  return z.NEVER;
});

const registrationSchema = z.object({ username, email, password });
const registrationCodeSchema = z.object({ email, code });
const loginSchema = z.object({ username: account, password });
const loginCodeSchema = z
  .object({ email: z.union([z.literal(''), email]), username: z.union([z.literal(''), username]), code })
  .refine((value) => (value.email === '') !== (value.username === ''), {
    path: ['email'],
    message: 'give either the email or the username',
  })
  .transform((value) => ({ account: value.email || value.username, code: value.code }));
const pageSize = z
  .number()
  .int()
  .max(MAX_PER_PAGE, `must be at most ${MAX_PER_PAGE}`)
  .transform((value) => value || MAX_PER_PAGE);
const usersPageSchema = z.object({ pageSize, pageToken: z.union([z.literal(''), username]) });
const createSchema = z.object({
  username,
  email,
  password,
  role: z.preprocess((given) => (given === '' ? 'user' : given), role),
});
const roleSchema = z.object({ username, role });
const disabledSchema = z.object({ username, disabled: z.boolean() });
const auditPageSchema = z.object({
  pageSize,
  pageToken: z
    .string()
    .regex(/^\d{0,15}$/, 'must come from the previous page')
    .transform(Number),
  username: z.union([z.literal(''), username]),
});

export function identityServiceHandlers(identity: IdentityUseCases, edge: Edge): IdentityServiceServer {
  const { registration, login, sessions, administration } = identity;
  return {
    initRegistration: unary(edge, async (request, { caller }) => {
      const expiresAt = await registration.init(parseRequest(registrationSchema, request), originOf(caller));
      return { codeExpiresAt: timeShape(expiresAt) };
    }),
    verifyRegistration: unary(edge, async (request, { caller }) => {
      const opened = await registration.verify(parseRequest(registrationCodeSchema, request), originOf(caller));
      return { session: sessionShape(opened) };
    }),
    initLogin: unary(edge, async (request, { caller }) => {
      const given = parseRequest(loginSchema, request);
      const expiresAt = await login.init({ account: given.username, password: given.password }, originOf(caller));
      return { codeExpiresAt: timeShape(expiresAt) };
    }),
    verifyLogin: unary(edge, async (request, { caller }) => {
      const opened = await login.verify(parseRequest(loginCodeSchema, request), originOf(caller));
      return { session: sessionShape(opened) };
    }),
    getSigningKeys: unary(edge, () => Promise.resolve({ keys: identity.publicKeys().map((key) => ({ ...key })) })),
    logout: unary(edge, async (_request, { caller }) => {
      if (caller.session === undefined) {
        throw new NexusError('failed_precondition', 'the admin socket needs no token, so there is none to revoke');
      }
      await sessions.logout(caller.session, originOf(caller));
      return {};
    }),
    whoAmI: unary(edge, (_request, { caller }) => Promise.resolve(callerShape(caller))),
    listUsers: unary(edge, async (request) => {
      const page = parseRequest(usersPageSchema, request);
      const { items, next } = await administration.listUsers(page.pageSize, page.pageToken);
      return { users: items.map(userShape), nextPageToken: next ?? '' };
    }),
    createUser: unary(edge, async (request, { caller }) => {
      const user = await administration.create(parseRequest(createSchema, request), originOf(caller));
      return { user: userShape(user) };
    }),
    setRole: unary(edge, async (request, { caller }) => {
      const given = parseRequest(roleSchema, request);
      return { user: userShape(await administration.setRole(given.username, given.role, originOf(caller))) };
    }),
    setDisabled: unary(edge, async (request, { caller }) => {
      const given = parseRequest(disabledSchema, request);
      return { user: userShape(await administration.setDisabled(given.username, given.disabled, originOf(caller))) };
    }),
    rotateSigningKey: unary(edge, async ({ voidOldTokens }, { caller }) => {
      return { kid: await administration.rotateSigningKey(voidOldTokens, originOf(caller)) };
    }),
    listAudit: unary(edge, async (request) => {
      const page = parseRequest(auditPageSchema, request);
      const { items, next } = await administration.listAudit(page.pageSize, page.pageToken, page.username);
      return { entries: items.map(auditShape), nextPageToken: next ?? '' };
    }),
  };
}

const originOf = (caller: Caller): Origin => ({ actor: caller.user, address: caller.address ?? '' });

const timeShape = (at: number): string => new Date(at).toISOString();

const sessionShape = ({ username: name, token, expiresAt }: OpenedSession): Session => ({
  username: name,
  token,
  expiresAt: timeShape(expiresAt),
});

function callerShape({ user, isAdministrator, session }: Caller): {
  username: string;
  role: string;
  email: string;
  tokenId: string;
  expiresAt: string;
} {
  return {
    username: user,
    role: isAdministrator ? 'admin' : 'user',
    email: session?.email ?? '',
    tokenId: session?.tokenId ?? '',
    expiresAt: session === undefined ? '' : timeShape(session.expiresAt),
  };
}

const userShape = (user: UserRecord): User => ({
  username: user.username,
  email: user.email,
  role: user.role,
  disabled: user.disabled,
  createdAt: timeShape(user.createdAt),
});

const auditShape = ({ id, at, ...line }: AuditRecord): AuditEntry => ({ ...line, id: BigInt(id), at: timeShape(at) });

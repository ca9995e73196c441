/**
 * The edge of one socket: authenticates callers and holds the state shared by that socket's handlers. The same handlers
 * serve the admin socket, whose callers are the local administrator, and the gateway's, which requires authentication.
 */
import { isIP } from 'node:net';
import type { Metadata } from '@grpc/grpc-js';
import type { Logger } from '../../shared/log.js';
import { NexusError } from '../../shared/errors.js';
import { OPEN_STREAMS, REQUEST_BYTES, Shares } from '../../shared/shares.js';
import { LOCAL_ADMINISTRATOR, USER_NAME_PATTERN } from '../../shared/users.js';
import { AS_USER_METADATA, AUTHORIZATION_METADATA, CLIENT_ADDRESS_METADATA } from '../../shared/rpc/status.js';
import { UNKNOWN_ADDRESS } from '../identity/address.js';
import type { Principal, Sessions } from '../identity/sessions.js';
import { assertMayCall, requirementOf } from './access.js';
import { CallStatistics } from '../metrics/call-statistics.js';

export interface Caller {
  /** Owner of the caller's files; empty for a caller without a token, who reaches public calls only. */
  readonly user: string;
  /** May do everything, with everybody's files and nodes. */
  readonly isAdministrator: boolean;
  /** Address of the gateway's client; absent on the admin socket. */
  readonly address?: string;
  /** The authenticated identity; absent on the admin socket and for public calls. */
  readonly session?: Principal;
}

/**
 * Limits look-ups by id to a user's own files and nodes; undefined: everybody's. Those of others count as not found.
 */
export const scopeOf = (caller: Caller): string | undefined => (caller.isAdministrator ? undefined : caller.user);

export interface Edge {
  readonly log: Logger;
  /** Counts every call. */
  readonly calls: CallStatistics;
  /** Limits streams that last until their reader ends them, per user. */
  readonly streams: Shares;
  /** Limits the bytes of requests for code to run, per user. */
  readonly bodies: Shares;
  /** `method` is the full path, e.g. /nexus.v1.FileService/ListFiles. Codes: unauthenticated, permission_denied. */
  admit(method: string, metadata: Metadata): Promise<Caller>;
}

/** Takes some megabytes at most; further users are looked up for each call. */
const MAX_REMEMBERED_USERS = 10_000;

/** A caller on the admin socket is the administrator, and may act for a user, with that user's rights. */
export class LocalEdge implements Edge {
  readonly streams = new Shares(OPEN_STREAMS);
  readonly bodies = new Shares(REQUEST_BYTES);
  readonly #known = new Set<string>();

  constructor(
    readonly log: Logger,
    /** Whether the user has an account, or has stored something. */
    private readonly isKnown: (user: string) => Promise<boolean>,
    readonly calls: CallStatistics = new CallStatistics(),
  ) {}

  /** Codes: permission_denied, invalid_argument, not_found (the user to act for). */
  async admit(method: string, metadata: Metadata): Promise<Caller> {
    const [name] = metadata.get(AS_USER_METADATA);
    if (name === undefined) return { user: LOCAL_ADMINISTRATOR, isAdministrator: true };
    const user = name.toString();
    if (!USER_NAME_PATTERN.test(user)) {
      throw new NexusError('invalid_argument', `--as: "${user}" is not a user name (${USER_NAME_RULE})`);
    }
    const isAdministrator = user === LOCAL_ADMINISTRATOR;
    if (!isAdministrator) await this.#assertKnown(user);
    assertMayCall(method, requirementOf(method) ?? 'user', isAdministrator);
    return { user, isAdministrator };
  }

  /**
   * Rejects mistyped names, which must not become owners. Accounts are never removed, so users found are remembered.
   */
  async #assertKnown(user: string): Promise<void> {
    if (this.#known.has(user)) return;
    if (!(await this.isKnown(user)))
      throw new NexusError('not_found', `--as: there is no user "${user}"`, {}, { advice: { key: 'list-users' } });
    if (this.#known.size < MAX_REMEMBERED_USERS) this.#known.add(user);
  }
}

/**
 * Callers on the gateway's socket authenticate with each call. The gateway is only trusted with its client's address:
 * it can't impersonate a user.
 */
export class GatewayEdge implements Edge {
  readonly streams = new Shares(OPEN_STREAMS);
  readonly bodies = new Shares(REQUEST_BYTES);

  constructor(
    readonly log: Logger,
    private readonly sessions: Pick<Sessions, 'authenticate'>,
    readonly calls: CallStatistics = new CallStatistics(),
  ) {}

  async admit(method: string, metadata: Metadata): Promise<Caller> {
    const requirement = requirementOf(method);
    if (requirement === undefined) throw new NexusError('permission_denied', `there is no rule that allows ${method}`);
    const address = clientAddress(metadata);
    if (requirement === 'public') return { user: '', isAdministrator: false, address };
    const session = await this.sessions.authenticate(bearerToken(metadata));
    const isAdministrator = session.role === 'admin';
    assertMayCall(method, requirement, isAdministrator);
    return { user: session.username, isAdministrator, address, session };
  }
}

/** Code: unauthenticated. */
function bearerToken(metadata: Metadata): string {
  const given = metadata.get(AUTHORIZATION_METADATA);
  const [scheme, token, ...rest] = given.length === 1 ? String(given[0]).split(' ') : [];
  if (scheme?.toLowerCase() === 'bearer' && token !== undefined && token !== '' && rest.length === 0) return token;
  throw new NexusError('unauthenticated', 'this needs a token (authorization: Bearer TOKEN); log in first');
}

function clientAddress(metadata: Metadata): string {
  const [given] = metadata.get(CLIENT_ADDRESS_METADATA);
  return typeof given === 'string' && isIP(given) !== 0 ? given : UNKNOWN_ADDRESS;
}

const USER_NAME_RULE = '1 to 32 lower-case letters, digits, - and _, beginning with a letter';

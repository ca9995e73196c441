/**
 * The edge of one socket: who is calling, and what every handler of that socket shares. The same handlers stand behind
 * the admin socket, whose callers are the local administrator, and behind others, which ask for proof.
 */
import type { Metadata } from '@grpc/grpc-js';
import type { Logger } from '../../shared/log.js';
import { NexusError } from '../../shared/errors.js';
import { LOCAL_ADMINISTRATOR, USER_NAME_PATTERN } from '../../shared/users.js';
import { AS_USER_METADATA } from '../../shared/rpc/status.js';

export interface Caller {
  /** Whose files these are. */
  readonly user: string;
  /** May do everything, to everybody's things. */
  readonly isAdministrator: boolean;
}

export interface Edge {
  readonly log: Logger;
  /** `method` is the full path, e.g. /nexus.v1.FileService/ListFiles. Codes: unauthenticated, permission_denied. */
  admit(method: string, metadata: Metadata): Promise<Caller>;
}

/** Whoever can open the admin socket is the administrator, and may act for a user by naming one. */
export class LocalEdge implements Edge {
  constructor(readonly log: Logger) {}

  admit(_method: string, metadata: Metadata): Promise<Caller> {
    const [name] = metadata.get(AS_USER_METADATA);
    if (name === undefined) return Promise.resolve({ user: LOCAL_ADMINISTRATOR, isAdministrator: true });
    const user = name.toString();
    if (USER_NAME_PATTERN.test(user)) return Promise.resolve({ user, isAdministrator: user === LOCAL_ADMINISTRATOR });
    throw new NexusError('invalid_argument', `--as: "${user}" is not a user name (${USER_NAME_RULE})`);
  }
}

const USER_NAME_RULE = '1 to 32 lower-case letters, digits, - and _, beginning with a letter';

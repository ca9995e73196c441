/**
 * Rules for names, passwords and addresses. Pure, and the same for everybody: a refusal does not reveal whether an
 * account exists.
 */
import { MAX_PASSWORD_CHARACTERS } from './bounds.js';
import { LOCAL_ADMINISTRATOR, USER_NAME_PATTERN } from '../../shared/users.js';
import type { UserRecord } from './port.js';

/** Longer than any address that mail servers take (RFC 5321: 254). */
const MAX_EMAIL_CHARACTERS = 254;
const MAX_LOCAL_PART_CHARACTERS = 64;
/** As required by NIST SP 800-63B where a second factor follows. */
const MIN_PASSWORD_CHARACTERS = 8;

/**
 * Names that can't be registered: `admin` owns everything that comes over the admin socket, the others would be taken
 * for the system itself.
 */
const RESERVED_NAMES: readonly string[] = [LOCAL_ADMINISTRATOR, 'administrator', 'nexus', 'root', 'system'];

/** True if the user can administer over the network, where a login by mail is needed. */
export const canAdminister = ({ role, disabled }: Pick<UserRecord, 'role' | 'disabled'>): boolean =>
  role === 'admin' && !disabled;

/** Describes what is wrong; undefined: nothing. */
export type Complaint = string | undefined;

export const userNameComplaint = (name: string): Complaint =>
  USER_NAME_PATTERN.test(name)
    ? undefined
    : 'must be 1 to 32 lower-case letters, digits, - and _, beginning with a letter';

export const isReserved = (name: string): boolean => RESERVED_NAMES.includes(name);

/** Unifies spellings that look the same on every keyboard (NIST SP 800-63B 5.1.1.2). */
export const normalisePassword = (password: string): string => password.normalize('NFKC');

export function passwordComplaint(password: string, username: string, email: string): Complaint {
  const normal = normalisePassword(password);
  const characters = Array.from(normal);
  if (characters.length < MIN_PASSWORD_CHARACTERS || characters.length > MAX_PASSWORD_CHARACTERS) {
    return `must have ${MIN_PASSWORD_CHARACTERS} to ${MAX_PASSWORD_CHARACTERS} characters`;
  }
  if (characters.every((character) => character === characters[0])) return 'must not be one character repeated';
  const lower = normal.toLowerCase();
  if (lower === username || lower === normaliseEmail(email)) return 'must not be the user name or the mail address';
  return undefined;
}

/** Unifies spellings of a mailbox. In practice, no two mailboxes differ only in the case of the local part. */
export const normaliseEmail = (email: string): string => email.trim().toLowerCase();

const LOCAL_PART = /^[a-z0-9!#$%&'*+/=?^_`{|}~-]+(\.[a-z0-9!#$%&'*+/=?^_`{|}~-]+)*$/;
const DOMAIN = /^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?(\.[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?)*$/;

/** Takes a normalised address. Only plain dot-atoms: nothing that could end a header line or name a second mailbox. */
export function emailComplaint(email: string): Complaint {
  const at = email.lastIndexOf('@');
  const [local, domain] = [email.slice(0, Math.max(at, 0)), email.slice(at + 1)];
  const isAddress =
    at > 0 &&
    email.length <= MAX_EMAIL_CHARACTERS &&
    local.length <= MAX_LOCAL_PART_CHARACTERS &&
    LOCAL_PART.test(local) &&
    DOMAIN.test(domain);
  return isAddress ? undefined : 'must be a mail address like name@example.org';
}

/** Texts of mails. Whoever can read the mailbox may learn whether an account exists; nobody else does. */
import type { Mail } from './port.js';

interface CodeMail {
  readonly to: string;
  readonly instance: string;
  readonly username: string;
  readonly code: string;
  readonly ttlMs: number;
}

const minutes = (ms: number): string => {
  const count = Math.max(1, Math.round(ms / 60_000));
  return count === 1 ? '1 minute' : `${count} minutes`;
};

const lines = (...text: readonly string[]): string => `${text.join('\n')}\n`;

export const registrationMail = ({ to, instance, username, code, ttlMs }: CodeMail): Mail => ({
  to,
  subject: `Your code for ${instance}`,
  text: lines(
    `Somebody, hopefully you, registers the account "${username}" with this address.`,
    '',
    `Code: ${code}`,
    '',
    `It can be used once, within ${minutes(ttlMs)}.`,
    'If it was not you, or the name is not the one you chose, ignore this mail.',
  ),
});

/**
 * Sent where so many registrations are requested that few mails are sent: the code is good for each of them, at the
 * place that requested it, so it names no account.
 */
export const crowdedRegistrationMail = ({ to, instance, code, ttlMs }: Omit<CodeMail, 'username'>): Mail => ({
  to,
  subject: `Your code for ${instance}`,
  text: lines(
    'Many registrations were asked for with this address, so that few mails are',
    'sent. If you asked for one, this is its code, even if it is not the first:',
    '',
    `Code: ${code}`,
    '',
    `It can be used once, within ${minutes(ttlMs)}, from where you asked for it.`,
    'If it was not you, ignore this mail.',
  ),
});

export const loginMail = ({ to, instance, username, code, ttlMs }: CodeMail): Mail => ({
  to,
  subject: `Your code for ${instance}`,
  text: lines(
    `Somebody, hopefully you, logs in as "${username}" and knows the password.`,
    '',
    `Code: ${code}`,
    '',
    `It can be used once, within ${minutes(ttlMs)}.`,
    'If it was not you, tell your administrator: the password is known to others.',
  ),
});

/** Answers a registration whose address has an account: the reply to the call must not reveal that. */
export const addressTakenMail = (to: string, instance: string): Mail => ({
  to,
  subject: `Your account at ${instance}`,
  text: lines(
    'Somebody, perhaps you, registers a new account with this address, which has',
    'one already. Log in with that one. If it was not you, ignore this mail.',
  ),
});

export const nameTakenMail = (to: string, instance: string, username: string): Mail => ({
  to,
  subject: `Your registration at ${instance}`,
  text: lines(
    `The name "${username}" is not available. Register again with another one.`,
    'If you do not know what this is about, ignore this mail.',
  ),
});

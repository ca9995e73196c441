/** `nexus user ls`, `audit` */
import type { AuditEntry, User } from '../../shared/gen/nexus/v1/identity.js';
import { parseInteger } from '../runner/arguments.js';
import { command } from '../runner/command.js';
import type { Controller } from '../connect/connection.js';
import { widthOf } from '../terminal/output.js';
import { plainShape } from '../runner/shapes.js';
import { auditTable, usersTable } from './user-text.js';

const DEFAULT_AUDIT_ENTRIES = 100;
const MAX_AUDIT_ENTRIES = 1_000_000;
/** Most entries that the controller returns in one answer. */
const MAX_PER_PAGE = 1000;

export const list = command({
  summary: 'list all accounts',
  positionals: {},
  flags: {},
  examples: [['nexus user ls', 'name, role, state, address']],
  run: async (_input, context) => {
    const users = await allUsers(await context.connect());
    await context.print(users.map(plainShape), () => usersTable(users, widthOf(context.streams.stdout)));
    return 0;
  },
});

export const audit = command({
  summary: 'the audit log of accounts, newest first',
  details: 'Registrations, logins, refused attempts, and what administrators changed. It never contains secrets.',
  positionals: { name: { description: 'only this account', optional: true, field: 'username' } },
  flags: {
    limit: { type: 'string', hint: 'N', description: `the newest N entries (default ${DEFAULT_AUDIT_ENTRIES})` },
  },
  examples: [
    ['nexus user audit', 'the newest entries'],
    ['nexus user audit alice --limit 10', 'about one account'],
  ],
  run: async (input, context) => {
    const limit =
      input.limit === undefined ? DEFAULT_AUDIT_ENTRIES : parseInteger(input.limit, 'limit', 1, MAX_AUDIT_ENTRIES);
    const entries = await newestEntries(await context.connect(), limit, input.name ?? '');
    await context.print(entries.map(plainShape), () => auditTable(entries, widthOf(context.streams.stdout)));
    return 0;
  },
});

async function allUsers({ call, identity }: Controller): Promise<User[]> {
  const users: User[] = [];
  let pageToken = '';
  do {
    const page = await call(identity, identity.listUsers, { pageSize: 0, pageToken });
    users.push(...page.users);
    pageToken = page.nextPageToken;
  } while (pageToken !== '');
  return users;
}

async function newestEntries({ call, identity }: Controller, limit: number, username: string): Promise<AuditEntry[]> {
  const entries: AuditEntry[] = [];
  let pageToken = '';
  do {
    const pageSize = Math.min(MAX_PER_PAGE, limit - entries.length);
    const page = await call(identity, identity.listAudit, { pageSize, pageToken, username });
    entries.push(...page.entries);
    pageToken = page.nextPageToken;
  } while (pageToken !== '' && entries.length < limit);
  return entries;
}

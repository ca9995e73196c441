/** `nexus user set-role`, `set-quota`, `disable`, `enable`, `rotate-key` */
import type { User } from '../../shared/gen/nexus/v1/identity.js';
import { parseStorageBytes } from '../runner/arguments.js';
import { command } from '../runner/command.js';
import type { Context } from '../runner/context.js';
import { formatBytes } from '../terminal/format.js';
import { throwFailures, tryEach } from '../runner/several.js';
import { plainShape } from '../runner/shapes.js';
import { expectUser, userLine } from './user-text.js';

const NAME = { description: 'name of the account', field: 'username' } as const;
const NAMES = { ...NAME, description: 'names of accounts', many: true } as const;

export const setRole = command({
  summary: 'make an account an administrator, or not',
  details: 'Takes effect with the next call of that user; nobody has to log in again.',
  positionals: { name: NAME, role: { description: 'user or admin' } },
  flags: {},
  examples: [
    ['nexus user set-role alice admin', 'may do everything'],
    ['nexus user set-role alice user', 'may only use their own files, functions and nodes'],
  ],
  run: async (input, context) => {
    const { call, identity } = await context.connect();
    const { user } = await call(identity, identity.setRole, { username: input.name, role: input.role });
    const changed = expectUser(user);
    await context.print(plainShape(changed), () => userLine(changed));
    return 0;
  },
});

export const setQuota = command({
  summary: 'how much an account may store',
  details: 'Raw files and folders count together. Files stored already stay, even if they are more than that.',
  positionals: { name: NAME, limit: { description: 'a size such as 500M or 2G, or none' } },
  flags: {},
  examples: [
    ['nexus user set-quota alice 2G', 'two gigabytes'],
    ['nexus user set-quota alice none', 'limited only by the room of the cluster'],
  ],
  run: async (input, context) => {
    const limit = input.limit === 'none' ? 0n : parseStorageBytes(input.limit, 'LIMIT');
    const { call, fs } = await context.connect();
    const set = await call(fs, fs.setQuota, { username: input.name, limit });
    await context.print(
      plainShape(set),
      () => `${set.username}  ${set.limit === 0n ? 'no limit' : formatBytes(Number(set.limit))}`,
    );
    return 0;
  },
});

export const disable = command({
  summary: 'disable accounts',
  details: 'They cannot log in, and all their tokens become void for good. Their files stay.',
  positionals: { names: NAMES },
  flags: {},
  examples: [['nexus user disable mallory', 'from the next call on']],
  run: async (input, context) => await setDisabled(context, input.names, true),
});

export const enable = command({
  summary: 'enable disabled accounts',
  details: 'Earlier tokens stay void: the user has to log in again.',
  positionals: { names: NAMES },
  flags: {},
  examples: [['nexus user enable alice', 'may log in again']],
  run: async (input, context) => await setDisabled(context, input.names, false),
});

async function setDisabled(context: Context, names: readonly string[], disabled: boolean): Promise<number> {
  const { call, identity } = await context.connect();
  const outcome = await tryEach(names, async (username): Promise<User> => {
    return expectUser((await call(identity, identity.setDisabled, { username, disabled })).user);
  });
  await context.print(outcome.done.map(plainShape), () => outcome.done.map(userLine).join('\n'));
  throwFailures(outcome);
  return 0;
}

export const rotateKey = command({
  summary: 'sign tokens with a new key from now on',
  details:
    'Existing tokens stay valid until they expire. --void-old-tokens ends them all at once, if others may know the key.',
  positionals: {},
  flags: { 'void-old-tokens': { type: 'boolean', description: 'all users have to log in again' } },
  examples: [
    ['nexus user rotate-key', 'as a habit'],
    ['nexus user rotate-key --void-old-tokens', 'when the old key may be known to others'],
  ],
  run: async (input, context) => {
    const { call, identity } = await context.connect();
    const voidOldTokens = input['void-old-tokens'];
    const { kid } = await call(identity, identity.rotateSigningKey, { voidOldTokens });
    await context.print(
      { kid, old_tokens_void: voidOldTokens },
      () => `new key ${kid}; tokens from before ${voidOldTokens ? 'are void' : 'stay valid until they expire'}`,
    );
    return 0;
  },
});

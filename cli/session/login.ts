/** `nexus login`, `nexus register` */
import { command } from '../runner/command.js';
import { CA_FILE_FLAG, openSession, urlFor } from './log-in.js';
import { knownPassword, newPassword, PASSWORD_FILE_FLAG } from '../terminal/password.js';
import { Prompt } from '../terminal/prompt.js';

const URL_ARGUMENT = {
  description: 'scheme, host and port of the gateway (default: where you were last)',
  optional: true,
} as const;

const SCRIPTS =
  'What is not given is asked for; without a terminal each answer is a line of standard input, in the order of the questions.';

export const login = command({
  summary: 'let commands go through a gateway',
  details: `Asks for the password and for the code that is then mailed. The session is kept in a file that only you can read, until it expires or nexus logout ends it. ${SCRIPTS}`,
  positionals: { url: URL_ARGUMENT },
  flags: {
    user: { type: 'string', short: 'u', hint: 'NAME', description: 'user name or mail address', field: 'username' },
    'password-file': PASSWORD_FILE_FLAG,
    ...CA_FILE_FLAG,
  },
  examples: [
    ['nexus login http://127.0.0.1:8080', 'asks for name, password and code'],
    ['nexus login https://cloud.example.org --user alice', 'asks for password and code'],
    ['nexus login --user alice --password-file secret < code', 'again where you were last, in a script'],
  ],
  run: async (input, context) => {
    using prompt = new Prompt(context.streams, context.signal);
    await openSession(context, prompt, {
      url: urlFor(input.url, context),
      caFile: input['ca-file'],
      begin: async ({ call, identity }) => {
        const account = (input.user ?? (await prompt.ask('user name or mail address'))).trim();
        const password = await knownPassword(input['password-file'], prompt);
        await call(identity, identity.initLogin, { username: account, password });
        const named = account.includes('@') ? { email: account, username: '' } : { email: '', username: account };
        return async (code) => (await call(identity, identity.verifyLogin, { ...named, code })).session;
      },
    });
    return 0;
  },
});

export const register = command({
  summary: 'make an account of your own at a gateway',
  details: `Asks for a password, twice, and for the code that is then mailed. Afterwards you are logged in. ${SCRIPTS}`,
  positionals: { url: URL_ARGUMENT },
  flags: {
    user: {
      type: 'string',
      short: 'u',
      hint: 'NAME',
      description: '1 to 32 lower-case letters, digits, - and _, beginning with a letter',
      field: 'username',
    },
    email: { type: 'string', hint: 'ADDRESS', description: 'where codes are mailed to' },
    'password-file': PASSWORD_FILE_FLAG,
    ...CA_FILE_FLAG,
  },
  examples: [
    ['nexus register http://127.0.0.1:8080', 'asks for name, address, password and code'],
    ['nexus register https://cloud.example.org --user alice --email alice@example.org', 'asks for the rest'],
  ],
  run: async (input, context) => {
    using prompt = new Prompt(context.streams, context.signal);
    await openSession(context, prompt, {
      url: urlFor(input.url, context),
      caFile: input['ca-file'],
      begin: async ({ call, identity }) => {
        const username = (input.user ?? (await prompt.ask('user name'))).trim();
        const email = (input.email ?? (await prompt.ask('mail address'))).trim();
        const password = await newPassword(input['password-file'], prompt);
        await call(identity, identity.initRegistration, { username, email, password });
        return async (code) => (await call(identity, identity.verifyRegistration, { email, code })).session;
      },
    });
    return 0;
  },
});

/** `nexus user create` */
import { command } from '../runner/command.js';
import { newPassword, PASSWORD_FILE_FLAG } from '../terminal/password.js';
import { Prompt } from '../terminal/prompt.js';
import { plainShape } from '../runner/shapes.js';
import { expectUser, userLine } from './user-text.js';

export const create = command({
  summary: 'make an account',
  details:
    'No code is mailed now; each login mails one to the address. The password is prompted for without echo, or read as a line of standard input.',
  positionals: {
    name: { description: '1 to 32 lower-case letters, digits, - and _, beginning with a letter', field: 'username' },
  },
  flags: {
    email: { type: 'string', hint: 'ADDRESS', description: 'where codes are mailed to', required: true },
    role: { type: 'enum', options: ['user', 'admin'], description: 'what the account may do (default user)' },
    'password-file': PASSWORD_FILE_FLAG,
  },
  examples: [
    ['nexus user create alice --email alice@example.org', 'asks for the password'],
    ['nexus user create bob --email bob@example.org --password-file /run/secrets/bob', 'in a script'],
    ['nexus user create carol --email carol@example.org --role admin', 'an administrator'],
  ],
  run: async (input, context) => {
    const controller = await context.connect();
    using prompt = new Prompt(context.streams, context.signal);
    const password = await newPassword(input['password-file'], prompt);
    const { name: username, email, role = 'user' } = input;
    const { identity } = controller;
    const { user } = await controller.call(identity, identity.createUser, { username, email, password, role });
    const created = expectUser(user);
    await context.print(plainShape(created), () => userLine(created));
    return 0;
  },
});

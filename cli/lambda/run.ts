/** `nexus lambda run`: a file of Python, or standard input, once in a sandbox. */
import { NexusError } from '../../shared/errors.js';
import { command } from '../runner/command.js';
import { INPUT_FLAGS, inputOf, LIMIT_FLAGS, limitsOf, readCode } from './input.js';
import { showInvocation } from './output.js';

export const run = command({
  summary: 'run code once',
  details:
    'Exits as the code does; 124 at its time limit, 137 if it was ended for its memory or its output. Ctrl-C ends the code.',
  positionals: { code: { description: 'Python code, or - for standard input' } },
  flags: { ...LIMIT_FLAGS, ...INPUT_FLAGS },
  examples: [
    ['nexus lambda run hello.py', 'its output comes while it runs'],
    ['echo "print(6 * 7)" | nexus lambda run -', 'code from a pipe'],
    ['nexus lambda run job.py --event \'{"n": 3}\' --timeout 1m --mem 256', 'with an event and more room'],
    ['nexus lambda run count.py --file /data/words.txt', 'reads /mnt/data/words.txt'],
  ],
  run: async (input, context) => {
    if (input.code === '-' && input.stdin) {
      throw new NexusError('invalid_argument', 'standard input can be the code or --stdin, not both');
    }
    const request = {
      code: await readCode(input.code, context),
      runtime: 'python3',
      limits: limitsOf(input),
      input: await inputOf(input, context),
    };
    const controller = await context.connect();
    return await showInvocation(controller.messages(controller.lambda.runLambda(request)), context);
  },
});

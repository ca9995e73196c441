/** `nexus help` */
import { command, type AnyCommand } from './command.js';
import { isGroup, type Group, type Leaf } from './command-group.js';
import { commandHelp, groupHelp } from './help-text.js';
import { usage } from './scan.js';
import { nearest } from '../../shared/nearest-word.js';
import { writeTo } from '../terminal/streams.js';
import { widthOf } from '../terminal/text-width.js';

export const help = (tree: Group): AnyCommand =>
  command({
    summary: 'what a command does',
    details: 'The same as --help behind its words: usage, arguments, flags and examples.',
    positionals: {
      words: { description: 'of a command, or of a group of them', optional: true, many: true, completes: 'command' },
    },
    flags: {},
    examples: [
      ['nexus help', 'all commands'],
      ['nexus help node create', 'one of them'],
    ],
    run: async ({ words }, context) => {
      const { entry, typed } = find(tree, words);
      const width = widthOf(context.streams.stdout);
      const text = isGroup(entry) ? groupHelp(entry, typed, width) : commandHelp(await entry.load(), typed, width);
      await writeTo(context.streams.stdout, `${text}\n`);
      return 0;
    },
  });

function find(tree: Group, words: readonly string[]): { readonly entry: Group | Leaf; readonly typed: string } {
  let entry: Group | Leaf = tree;
  let typed = 'nexus';
  for (const word of words) {
    if (!isGroup(entry)) throw usage(`${typed} has no command "${word}"; see ${typed} --help`);
    const child: Group | Leaf | undefined = Object.hasOwn(entry.children, word) ? entry.children[word] : undefined;
    if (child === undefined) {
      const near = nearest(word, Object.keys(entry.children));
      const advice = near === undefined ? `see ${typed} --help` : `did you mean "${near}"?`;
      throw usage(`unknown command "${typed} ${word}"; ${advice}`);
    }
    entry = child;
    typed = `${typed} ${word}`;
  }
  return { entry, typed };
}

/** `nexus completion`: a script (deploy/completion/) for each shell, and the question that all of them ask. */
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { command, type AnyCommand } from './command.js';
import type { Group } from './command-group.js';
import { candidatesFor } from './complete.js';
import { openContext } from './context.js';
import { liveCandidates } from './live-candidates.js';
import { projectRoot } from '../local/project.js';
import { writeTo } from '../terminal/streams.js';

type Shell = 'bash' | 'zsh' | 'fish';

const HOW: Readonly<Record<Shell, readonly [line: string, meaning: string]>> = {
  bash: ['source <(nexus completion bash)', 'in ~/.bashrc'],
  zsh: ['source <(nexus completion zsh)', 'in ~/.zshrc, after compinit'],
  fish: ['nexus completion fish > ~/.config/fish/completions/nexus.fish', 'once'],
};

export const script = (shell: Shell): AnyCommand =>
  command({
    summary: `the completion script for ${shell}`,
    details: 'It asks nexus itself at each press of Tab, so it stays valid when commands are added.',
    positionals: {},
    flags: {},
    examples: [HOW[shell]],
    run: async (_input, context) => {
      await writeTo(
        context.streams.stdout,
        await readFile(join(projectRoot(), 'deploy', 'completion', `nexus.${shell}`), 'utf8'),
      );
      return 0;
    },
  });

export const candidates = (tree: Group): AnyCommand =>
  command({
    summary: 'candidates for the last word of a line; called by the shells',
    details:
      'One a line, with a tab and a description where there is one. ":local" stands for files of this machine, ":open" says that more may follow without a space. Never fails, and never asks for a password.',
    positionals: {},
    flags: {},
    verbatim: 'words',
    examples: [["nexus completion candidates -- node st ''", 'the last word is the one to complete']],
    run: async (_input, context, words) => {
      const { fixed, kind, typed, global } = await candidatesFor(tree, words);
      const { streams, signal } = context;
      let live: readonly string[] = [];
      if (kind !== undefined && kind !== 'local') {
        const options = { ...global, output: 'json', argv: [] } as const;
        await using asked = openContext(options, streams);
        live = await liveCandidates(asked, kind, typed);
      }
      const lines = kind === 'local' ? [':local'] : [...fixed, ...live];
      if (lines.length > 0) await writeTo(streams.stdout, `${lines.join('\n')}\n`, signal);
      return 0;
    },
  });

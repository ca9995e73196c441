/** `nexus doctor` */
import { examineHost } from '../../shared/host/probe.js';
import { command } from '../runner/command.js';
import { projectRoot } from '../local/project.js';
import { folded, widthOf } from '../terminal/text-width.js';

export const doctor = command({
  summary: 'can this host run it, and what to change',
  details: 'Changes nothing. Exit code 1 if something that is needed is missing.',
  positionals: {},
  flags: {},
  examples: [['nexus doctor', 'each check, what was found, and advice']],
  run: async (_input, context) => {
    const report = await examineHost(context.settings, projectRoot());
    const width = widthOf(context.streams.stdout);
    await context.print(report, ({ checks }) =>
      checks
        .flatMap(({ ok, name, found, advice }) => [
          folded(`${ok ? 'ok ' : 'NO '} ${name}: ${found}`, width, '     '),
          ...(advice === '' ? [] : [folded(`     ${advice}`, width, '     ')]),
        ])
        .join('\n'),
    );
    return report.ok ? 0 : 1;
  },
});

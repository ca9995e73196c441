/** `nexus doctor` */
import { examineHost } from '../../shared/host/probe.js';
import { command } from '../command.js';
import { projectRoot } from '../project.js';

export const doctor = command({
  summary: 'can this host run it, and what to change',
  details: 'Looks only; nothing is changed. Exit code 1 when something that is needed is missing.',
  positionals: {},
  flags: {},
  examples: [['nexus doctor', 'each check, what was found, and advice']],
  run: async (_input, context) => {
    const report = await examineHost(context.settings, projectRoot());
    await context.print(report, ({ checks }) =>
      checks
        .map(
          (check) =>
            `${check.ok ? 'ok ' : 'NO '} ${check.name}: ${check.found}${check.advice === '' ? '' : `\n     ${check.advice}`}`,
        )
        .join('\n'),
    );
    return report.ok ? 0 : 1;
  },
});

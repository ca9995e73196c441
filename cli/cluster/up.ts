/** `nexus up` and `nexus daemon` */
import { join } from 'node:path';
import { notice, type Advice } from '../../shared/advice/advice.js';
import { inCommandWords } from '../../shared/advice/command-words.js';
import { until } from '../../shared/async/wait.js';
import { withoutEffect } from '../../shared/config/in-force.js';
import { CHOICES_FILE, WITH_NODES, WITH_VOLUMES } from '../../shared/config/choices.js';
import {
  abilitiesOf,
  assertWorksWith,
  RUNTIME_NAMES,
  RUNTIMES_IN_WORDS,
  traitsOf,
} from '../../shared/config/runtimes.js';
import type { SettingName, Settings } from '../../shared/config/settings.js';
import { detectCgroupLayout } from '../../shared/cgroup/layout.js';
import { NexusError } from '../../shared/errors.js';
import { command, type AnyCommand } from '../runner/command.js';
import type { Context } from '../runner/context.js';
import type { Controller } from '../connect/connection.js';
import { assertConfigStays, findController, runController, startController } from './daemon.js';
import type { GetStatusResponse } from '../../shared/gen/nexus/v1/cluster.js';
import { statusShape } from '../runner/shapes.js';

const RUNTIME_FLAG = {
  runtime: {
    type: 'enum',
    options: RUNTIME_NAMES,
    description: RUNTIMES_IN_WORDS,
  },
} as const;

export const up = command({
  summary: 'start the cluster',
  details:
    'Starts the controller, which starts the bus and brings back the nodes that were running. Does nothing when it is up.',
  positionals: {},
  flags: {
    ...RUNTIME_FLAG,
    demo: { type: 'boolean', description: 'then show the whole tour on real data' },
    foreground: { type: 'boolean', description: 'stay in the foreground, log on this terminal' },
  },
  examples: [
    ['nexus up', 'the cluster of this host'],
    ['nexus up --demo', 'and a tour: three nodes, a file spread over them, fetched and compared'],
    ['nexus up --runtime process', 'without root, without isolation'],
  ],
  run: async (input, context) => {
    const { settings } = locate(context, input.runtime);
    assertConfigStays(context);
    await assertRuntimeWorks(settings);
    await context.becomeRootIfNeeded();
    if (input.foreground && input.demo)
      throw new NexusError('invalid_argument', '--demo and --foreground exclude each other');
    const running = await findController(settings, context.signal);
    if (input.foreground) {
      await running?.close();
      return await runController(context, settings);
    }
    const controller = running ?? (await startController(context, settings));
    try {
      const status = await settledStatus(context, controller);
      if (input.runtime !== undefined && status.runtime !== input.runtime) {
        throw new NexusError(
          'failed_precondition',
          `the cluster is up with the ${status.runtime} runtime; stop it first with: nexus down`,
        );
      }
      if (running !== undefined) noteWithoutEffect(context, settings, status.nodes?.total ?? 0);
      if (input.demo) {
        const { tour } = await import('./tour.js');
        return await tour(context, controller);
      }
      await context.print(statusShape(status), () =>
        [
          `cluster "${status.instance}" ${running === undefined ? 'is up' : 'was up already'}: controller pid ${status.controllerPid}, ${status.nodes?.total ?? 0} node(s)`,
          ...(status.gateway?.ready === true
            ? [`gateway: ${status.gateway.url}, described at ${status.gateway.url}/docs`]
            : []),
          ...status.warnings.map((warning) => `warning: ${warning}`),
        ].join('\n'),
      );
      return 0;
    } finally {
      await controller.close().catch(() => undefined);
    }
  },
});

export const daemon: AnyCommand = command({
  summary: 'the controller in the foreground',
  details: 'For a service manager: logs to standard output, ends on SIGTERM and leaves the nodes running.',
  positionals: {},
  flags: RUNTIME_FLAG,
  examples: [['nexus daemon', 'as root']],
  run: async (input, context) => {
    const { settings } = locate(context, input.runtime);
    assertConfigStays(context);
    await assertRuntimeWorks(settings);
    await context.becomeRootIfNeeded();
    return await runController(context, settings);
  },
});

/**
 * The controller has read its settings long ago. A restart takes the new ones over, but for what belongs to the nodes
 * and to the database with their records: with another value there the next start would be refused.
 */
function noteWithoutEffect(context: Context, settings: Settings, nodes: number): void {
  const ofNodes: readonly SettingName[] = nodes === 0 ? [] : fixedBy(settings);
  const ofRecords: readonly SettingName[] = nodes === 0 ? [] : ['databaseUrl'];
  const tell = (problem: string, names: (name: SettingName) => boolean, advice: Advice, end = ''): void => {
    const settled = withoutEffect(settings, names);
    if (settled.length > 0) context.note(inCommandWords(notice(`${problem}: ${settled.join(', ')}${end}`, advice)));
  };
  tell(
    'settings of a cluster that is up stay as they are',
    (name) => !ofNodes.includes(name) && !ofRecords.includes(name),
    { key: 'restart-cluster' },
  );
  tell(
    'the nodes of this cluster were made with other settings, and a start with these is refused',
    (name) => ofNodes.includes(name),
    { key: 'remove-all-nodes' },
    '; set back what differs',
  );
  tell('the nodes of this cluster are in another database', (name) => ofRecords.includes(name), {
    key: 'move-database',
    choices: join(settings.stateDir, CHOICES_FILE),
  });
}

/** Users of nodes are part of the state where nodes have any. */
const fixedBy = ({ runtime }: Settings): readonly SettingName[] =>
  abilitiesOf(runtime).needsRoot ? [...WITH_NODES, ...WITH_VOLUMES] : WITH_NODES;

const GATEWAY_TIMEOUT_MS = 10_000;
const POLL_MS = 25;

/** The gateway starts beside the rest: waits until it answers, or until it is known why it does not. */
async function settledStatus(context: Context, controller: Controller): Promise<GetStatusResponse> {
  const look = (): Promise<GetStatusResponse> => controller.call(controller.cluster, controller.cluster.getStatus, {});
  let status = await look();
  const isSettled = async (): Promise<boolean> => {
    context.throwIfInterrupted();
    status = await look();
    const { url = '', ready = false, problem = '' } = status.gateway ?? {};
    return url === '' || ready || problem !== '';
  };
  await until(isSettled, { everyMs: POLL_MS, withinMs: GATEWAY_TIMEOUT_MS });
  return status;
}

/** Says it before a password is asked for: the launcher has installed nothing for such a runtime. */
async function assertRuntimeWorks({ runtime }: Settings): Promise<void> {
  const { program } = traitsOf(runtime);
  if (program?.needsUnifiedCgroups === true) assertWorksWith(await detectCgroupLayout(), runtime);
}

const locate = (context: Context, runtime: string | undefined): ReturnType<Context['target']> =>
  context.target(runtime === undefined ? {} : { runtime });

/** `nexus down` */
import { existsSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import { until } from '../../shared/async/wait.js';
import { NexusError } from '../../shared/errors.js';
import { command } from '../runner/command.js';
import type { Context } from '../runner/context.js';
import { findController, startController } from './daemon.js';

const GONE_TIMEOUT_MS = 60_000;
const POLL_MS = 20;

export const down = command({
  summary: 'stop the cluster',
  details:
    'Stops the nodes, the bus and the controller. Data stays, and the nodes that were running come back with the next up. --purge removes every node, volume, file and host object.',
  positionals: {},
  flags: { purge: { type: 'boolean', description: 'remove everything that this instance made, including data' } },
  examples: [
    ['nexus down', 'keeps all data'],
    ['nexus down --purge', 'leaves the host as it was before'],
  ],
  run: async (input, context) => {
    const { settings } = context;
    await context.becomeRootIfNeeded();
    const running = await findController(settings, context.signal);
    if (running === undefined && !(input.purge && existsSync(settings.stateDir))) {
      await context.print(
        { instance: settings.instance, stopped: false },
        () => `cluster "${settings.instance}" is not running`,
      );
      return 0;
    }
    // Only the controller knows what there is to remove; one that is not running is started for it.
    const controller = running ?? (await startController(context, settings));
    const { controllerPid } = await controller.call(controller.cluster, controller.cluster.getStatus, {});
    for await (const { progress } of controller.messages(controller.cluster.shutdown({ purge: input.purge })))
      context.note(progress);
    context.throwIfInterrupted();
    await controller.close();
    await untilGone(context, controllerPid);
    const left = input.purge ? [settings.stateDir, settings.runDir].flatMap(leftBelow) : [];
    const files = left.filter((path) => !path.endsWith('/'));
    if (files.length > 0) {
      throw new NexusError(
        'failed_precondition',
        `cluster "${settings.instance}" is stopped, and ${files.length} file(s) of it could not be removed (${files.slice(0, 3).join(', ')}); find out what uses them, then remove them by hand`,
      );
    }
    for (const folder of left) context.note(`${folder} is empty and stays: something is mounted there`);
    const done = input.purge ? 'is stopped and removed' : 'is stopped; its data is kept';
    await context.print(
      { instance: settings.instance, stopped: true, purged: input.purge },
      () => `cluster "${settings.instance}" ${done}`,
    );
    return 0;
  },
});

/** Lists the leftovers of a folder: files, and empty folders with a slash at their end. */
function leftBelow(folder: string): string[] {
  if (!existsSync(folder)) return [];
  const entries = readdirSync(folder, { withFileTypes: true });
  if (entries.length === 0) return [`${folder}/`];
  return entries.flatMap((entry) => {
    const path = join(folder, entry.name);
    return entry.isDirectory() ? leftBelow(path) : [path];
  });
}

async function untilGone(context: Context, pid: number): Promise<void> {
  const isGone = (): boolean => {
    // A zombie whose parent does not look counts as gone: its command line is empty.
    if (!isRunning(pid)) return true;
    context.throwIfInterrupted();
    return false;
  };
  if (!(await until(isGone, { everyMs: POLL_MS, withinMs: GONE_TIMEOUT_MS })))
    throw new NexusError('deadline_exceeded', `the controller (pid ${pid}) does not end; see its log`);
}

function isRunning(pid: number): boolean {
  return existsSync(`/proc/${pid}/exe`);
}

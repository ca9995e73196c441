/** `nexus status` */
import type { GetStatusResponse } from '../../shared/gen/nexus/v1/cluster.js';
import { command } from '../command.js';
import { formatAge, formatBytes } from '../format.js';
import { facts } from '../output.js';
import { statusShape } from '../shapes.js';

export const status = command({
  summary: 'the cluster at a glance',
  positionals: {},
  flags: {},
  examples: [['nexus status', 'nodes, storage, warnings']],
  run: async (_input, context) => {
    const controller = await context.connect();
    const found = await controller.call(controller.cluster, controller.cluster.getStatus, {});
    await context.print(statusShape(found), () => statusText(found));
    return 0;
  },
});

function statusText(status: GetStatusResponse): string {
  const { nodes, storage } = status;
  const states = (['running', 'suspect', 'lost', 'stopped', 'failed', 'cordoned'] as const)
    .filter((state) => (nodes?.[state] ?? 0) > 0)
    .map((state) => `${nodes?.[state] ?? 0} ${state}`);
  const bytes = (value: bigint | undefined): string => formatBytes(Number(value ?? 0n));
  const lines = facts([
    ['instance', `${status.instance} (${status.runtime} runtime, version ${status.version})`],
    ['controller', `pid ${status.controllerPid} for ${formatAge(status.startedAt)}, ${status.controllerSocket}`],
    ['bus', `${status.natsUrl}${status.natsPid > 0 ? `, pid ${status.natsPid}` : ' (external)'}`],
    ['nodes', `${nodes?.total ?? 0}${states.length > 0 ? ` (${states.join(', ')})` : ''}`],
    ['files', `${storage?.files ?? 0n} in ${storage?.chunks ?? 0n} chunks, ${bytes(storage?.bytes)}`],
    ['room', `${bytes(storage?.freeBytes)} free of ${bytes(storage?.capacityBytes)}`],
    [
      'redundancy',
      Number(storage?.underReplicated ?? 0n) === 0
        ? 'all chunks have their copies'
        : `${storage?.underReplicated ?? 0n} chunks lack copies`,
    ],
  ]);
  return [lines, ...status.warnings.map((warning) => `warning: ${warning}`)].join('\n');
}

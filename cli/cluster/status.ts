/** `nexus status` */
import { abilitiesOf, isRuntimeName } from '../../shared/config/runtimes.js';
import type { GetStatusResponse } from '../../shared/gen/nexus/v1/cluster.js';
import { command } from '../runner/command.js';
import { formatAge, formatBytes, formatSeconds } from '../terminal/format.js';
import { facts, visible, widthOf } from '../terminal/output.js';
import { rowsOf } from '../node/live-rows.js';
import { eventShape, statusShape } from '../runner/shapes.js';
import { folded } from '../terminal/text-width.js';
import { eventLines, lastEvents, nodeLines, upkeepFacts } from './status-page.js';

export const status = command({
  summary: 'the cluster at a glance',
  positionals: {},
  flags: {},
  details: 'One page: what runs, nodes and what they use, room, redundancy and repairs, warnings, the last events.',
  examples: [
    ['nexus status', 'for people'],
    ['nexus status -o json', 'for scripts: counts, sums, warnings and the last events'],
  ],
  run: async (_input, context) => {
    const controller = await context.connect();
    const found = await controller.call(controller.cluster, controller.cluster.getStatus, {});
    const events = await lastEvents(controller);
    const nodes = await rowsOf(controller);
    const width = widthOf(context.streams.stdout);
    await context.print({ ...statusShape(found), events: events.map(eventShape) }, () =>
      [statusText(found, width), ...nodeLines(nodes, width), ...eventLines(events, width)].join('\n'),
    );
    return 0;
  },
});

function statusText(status: GetStatusResponse, width: number): string {
  const { nodes, storage } = status;
  const states = (['running', 'suspect', 'lost', 'stopped', 'failed', 'cordoned'] as const)
    .filter((state) => (nodes?.[state] ?? 0) > 0)
    .map((state) => `${nodes?.[state] ?? 0} ${state}`);
  const bytes = (value: bigint | undefined): string => formatBytes(Number(value ?? 0n));
  const lines = facts(
    [
      ['instance', `${status.instance} (${status.runtime} runtime, version ${status.version})`],
      ['controller', `pid ${status.controllerPid} for ${formatAge(status.startedAt)}, ${status.controllerSocket}`],
      ['gateway', gatewayText(status)],
      ['bus', `${status.natsUrl}${status.natsPid > 0 ? `, pid ${status.natsPid}` : ' (external)'}`],
      ['nodes', `${nodes?.total ?? 0}${states.length > 0 ? ` (${states.join(', ')})` : ''}`],
      ...spareFacts(status),
      ['files', `${storage?.files ?? 0n} in ${storage?.chunks ?? 0n} chunks, ${bytes(storage?.bytes)}`],
      ['room', `${bytes(storage?.freeBytes)} free of ${bytes(storage?.capacityBytes)}`],
      ['redundancy', redundancy(status)],
      ...upkeepFacts(status),
      ['lambda', lambdaText(status)],
    ],
    width,
  );
  return [lines, ...status.warnings.map((warning) => folded(visible(`warning: ${warning}`), width, '  '))].join('\n');
}

function spareFacts({ spares }: GetStatusResponse): [string, string][] {
  if (spares === undefined || spares.wanted === 0) return [];
  return [['spares', `${spares.ready} of ${spares.wanted} ready for node create`]];
}

function lambdaText({ lambda, runtime }: GetStatusResponse): string {
  if (isRuntimeName(runtime) && !abilitiesOf(runtime).sandboxes) return `off: the ${runtime} runtime has no sandboxes`;
  const { poolReady = 0, poolTarget = 0, running = 0, queueLength = 0 } = lambda ?? {};
  return `${poolReady} of ${poolTarget} prewarmed sandboxes, ${running} running, ${queueLength} waiting`;
}

function gatewayText({ gateway }: GetStatusResponse): string {
  if (gateway === undefined || gateway.url === '') return 'off';
  return gateway.ready ? `${gateway.url}, pid ${gateway.pid}` : `${gateway.url} does not answer`;
}

function redundancy({ repair }: GetStatusResponse): string {
  const lacking = Number(repair?.lackingChunks ?? 0n);
  const lost = Number(repair?.lostChunks ?? 0n);
  if (repair === undefined || lacking + lost === 0) return 'all chunks have their copies';
  const endangered = Number(repair.endangeredChunks);
  const parts = [
    ...(lost > 0 ? [`${lost} chunk(s) cannot be read now`] : []),
    ...(lacking > 0 ? [`${lacking} chunk(s) lack copies`] : []),
    ...(endangered > 0 ? [`${endangered} have one left`] : []),
    ...(repair.running > 0
      ? [`copying at ${formatBytes(Math.round(repair.rate))}/s, ${formatSeconds(repair.secondsLeft * 1000)} left`]
      : []),
  ];
  return parts.join(', ');
}

/** `nexus metrics` */
import { systemClock } from '../../shared/async/clock.js';
import { NexusError } from '../../shared/errors.js';
import type { NodeMetrics } from '../../shared/gen/nexus/v1/metrics.js';
import { parseDurationMs } from '../runner/arguments.js';
import { command } from '../runner/command.js';
import { historyText, metricsText } from './metrics-text.js';
import { widthOf } from '../terminal/output.js';
import { plainShape } from '../runner/shapes.js';
import { watchReader } from '../terminal/reader-watch.js';
import { writeTo } from '../terminal/streams.js';
import { jsonText } from '../terminal/visible.js';

const HISTORY_MS = 60 * 60 * 1000;

export const metrics = command({
  summary: 'what one node uses',
  details: 'Agents report every 5 s. The last hour is kept in memory, at most since the controller started.',
  positionals: { node: { description: 'name, id or unique beginning of an id', completes: 'node' } },
  flags: {
    since: { type: 'string', hint: 'TIME', description: 'show all reports of the last TIME, for example 10m' },
    follow: {
      type: 'boolean',
      short: 'f',
      description: 'each new report until Ctrl-C; with JSON, one object per line',
    },
  },
  examples: [
    ['nexus metrics web-1', 'the latest report'],
    ['nexus metrics web-1 --since 10m', 'a table of ten minutes'],
    ['nexus metrics web-1 -f -o json', 'one object per line, every 5 s'],
  ],
  run: async (input, context) => {
    const controller = await context.connect();
    const { metrics: client } = controller;
    const width = widthOf(context.streams.stdout);
    if (input.follow) {
      if (input.since !== undefined) throw new NexusError('invalid_argument', 'give --since or --follow, not both');
      using _reader = watchReader(context);
      for await (const { metrics: found } of controller.messages(client.watchNodeMetrics({ node: input.node }))) {
        const shown = expectMetrics(found);
        const line = context.output === 'table' ? `${metricsText(shown, width)}\n` : jsonText(plainShape(shown));
        await writeTo(context.streams.stdout, `${line}\n`, context.signal);
      }
      return 0;
    }
    if (input.since !== undefined) {
      const since = new Date(systemClock.now() - parseDurationMs(input.since, 'since', HISTORY_MS)).toISOString();
      const { metrics: found } = await controller.call(client, client.getNodeMetricsHistory, {
        node: input.node,
        since,
      });
      await context.print(found.map(plainShape), () => historyText(found, width));
      return 0;
    }
    const { metrics: found } = await controller.call(client, client.getNodeMetrics, { node: input.node });
    const latest = expectMetrics(found);
    await context.print(plainShape(latest), () => metricsText(latest, width));
    return 0;
  },
});

function expectMetrics(found: NodeMetrics | undefined): NodeMetrics {
  if (found === undefined) throw new NexusError('internal', 'the controller answered without figures');
  return found;
}

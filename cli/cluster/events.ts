/** `nexus events` */
import { NexusError } from '../../shared/errors.js';
import type { Event } from '../../shared/gen/nexus/v1/cluster.js';
import { command } from '../runner/command.js';
import { table, widthOf } from '../terminal/output.js';
import { eventShape } from '../runner/shapes.js';
import { watchReader } from '../terminal/reader-watch.js';
import { type Output, type OutputFormat, writeTo } from '../terminal/streams.js';
import { jsonText, visible } from '../terminal/visible.js';

export const events = command({
  summary: 'what happens in the cluster',
  details: 'The last 10,000 events are kept.',
  positionals: {},
  flags: {
    follow: { type: 'boolean', short: 'f', description: 'continue until Ctrl-C; with JSON, one object per line' },
    last: { type: 'string', hint: 'N', description: 'only the last N past events' },
  },
  examples: [
    ['nexus events', 'what happened'],
    ['nexus events --last 20', 'the last twenty'],
    ['nexus events -f', 'and new ones as they happen'],
  ],
  run: async (input, context) => {
    const controller = await context.connect();
    const stream = controller.cluster.watchEvents({ follow: input.follow, afterId: 0n, last: parseLast(input.last) });
    using _reader = input.follow ? watchReader(context) : undefined;
    const seen: Event[] = [];
    for await (const { event } of controller.messages(stream)) {
      if (event === undefined) continue;
      if (!input.follow) seen.push(event);
      else await writeTo(context.streams.stdout, lineOf(event, context.output), context.signal);
    }
    if (!input.follow) {
      await context.print(seen.map(eventShape), () =>
        table(
          [
            { title: 'AT' },
            { title: 'TYPE' },
            { title: 'SUBJECT', leaveOut: 1, least: 16, flexible: 'middle' },
            { title: 'MESSAGE', least: 40, flexible: 'words' },
          ],
          seen.map((event) => [timeFor(context.streams.stdout, event.at), event.type, event.subject, event.message]),
          widthOf(context.streams.stdout),
        ),
      );
    }
    return 0;
  },
});

/** People at a terminal need room for the message more than the year and milliseconds. */
const timeFor = (output: Output, at: string): string =>
  widthOf(output) === Number.POSITIVE_INFINITY ? at : `${at.slice(5, 10)} ${at.slice(11, 19)}`;

/** 0: all. */
function parseLast(text: string | undefined): number {
  if (text === undefined) return 0;
  if (/^[1-9]\d{0,4}$/.test(text)) return Number(text);
  throw new NexusError('invalid_argument', `--last can't be "${text}"; give a whole number from 1 to 99999`);
}

const lineOf = (event: Event, output: OutputFormat): string =>
  output === 'table'
    ? `${visible(`${event.at}  ${event.type}  ${event.subject}  ${event.message}`)}\n`
    : `${jsonText(eventShape(event))}\n`;

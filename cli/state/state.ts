/** `nexus state export`, `import`, `rebuild` */
import { NexusError } from '../../shared/errors.js';
import { ImportStateRequest, type ImportStateResponse, type RebuildSummary } from '../../shared/gen/nexus/v1/state.js';
import { command } from '../runner/command.js';
import { FileDestination } from '../local/destination.js';
import { formatBytes } from '../terminal/format.js';
import { count } from '../terminal/format.js';
import { table, widthOf } from '../terminal/output.js';
import { sendBytes } from '../local/send-bytes.js';
import { plainShape } from '../runner/shapes.js';
import { openPieces } from '../local/source.js';
import { writeTo } from '../terminal/streams.js';

/** As for nexus.json itself: it holds the paths of all users. */
const EXPORT_MODE = 0o600;

export const exportState = command({
  summary: 'export the state of the cluster',
  details:
    'Nodes, files with the places of their chunks, folders and quotas, as one JSON document, without the bytes of files and without secrets. nexus.json in the state folder is the same document, at most moments old.',
  positionals: {
    file: { description: 'file to write, or - for standard output (default)', completes: 'local', optional: true },
  },
  flags: {},
  examples: [
    ['nexus state export backup.json', 'to a file'],
    ['nexus state export | gzip > backup.json.gz', 'to a pipe'],
  ],
  run: async (input, context) => {
    const controller = await context.connect();
    const stream = controller.state.exportState({});
    if (input.file === undefined || input.file === '-') {
      for await (const { data } of controller.messages(stream))
        await writeTo(context.streams.stdout, data, context.signal);
      context.throwIfInterrupted();
      return 0;
    }
    await using destination = await FileDestination.open(input.file, 'nexus.json', context, EXPORT_MODE);
    let size = 0;
    for await (const { data } of controller.messages(stream)) {
      size += data.length;
      await destination.write(Buffer.from(data));
    }
    context.throwIfInterrupted();
    await destination.publish();
    await context.print({ path: destination.path, size }, (shape) => `${shape.path}  ${formatBytes(shape.size)}`);
    return 0;
  },
});

export const importState = command({
  summary: 'import an exported state',
  details:
    'Into a cluster without nodes and files. Nodes are created again on the volumes in the state folder and started; every file whose chunks are there can be read again. Repair replaces copies whose volumes are gone.',
  positionals: {
    file: { description: 'a file that nexus state export wrote, or - for standard input', completes: 'local' },
  },
  flags: {},
  examples: [
    ['nexus state import backup.json', 'from a file'],
    ['gunzip < backup.json.gz | nexus state import -', 'from a pipe'],
  ],
  run: async (input, context) => {
    const source = await openPieces(input.file, context, 'give a file that nexus state export wrote');
    try {
      const controller = await context.connect();
      const imported = await sendBytes<ImportStateRequest, ImportStateResponse>(
        controller,
        (done) => controller.state.importState(done),
        { of: (data) => ImportStateRequest.fromPartial({ data }) },
        source,
        context.signal,
      );
      await context.print(plainShape(imported), () =>
        [
          `${count(imported.nodes, 'node')}, ${count(Number(imported.files), 'file')}, ${imported.entries} in folders`,
          ...imported.warnings.map((warning) => `warning: ${warning}`),
        ].join('\n'),
      );
    } finally {
      source.destroy();
    }
    return 0;
  },
});

export const rebuildState = command({
  summary: 'rebuild the state from the volumes',
  details:
    'For a database that is lost without a copy. Nodes are restored from the descriptions beside the volumes, files from the chunks on them. Folders, quotas and empty files are not restored; files in folders become files of their own. Incomplete files are reported, kept, and listed with the status partial.',
  positionals: {},
  flags: { plan: { type: 'boolean', description: 'only show what would be done; changes nothing' } },
  examples: [
    ['nexus state rebuild --plan', 'what is there'],
    ['nexus state rebuild', 'do it'],
  ],
  run: async (input, context) => {
    const controller = await context.connect();
    let summary: RebuildSummary | undefined;
    for await (const message of controller.messages(controller.state.rebuildState({ plan: input.plan }))) {
      if (message.progress !== undefined) context.note(message.progress);
      summary = message.summary ?? summary;
    }
    context.throwIfInterrupted();
    if (summary === undefined) throw new NexusError('internal', 'the controller answered without a summary');
    const found = summary;
    await context.print(plainShape(found), () => summaryText(found, input.plan, widthOf(context.streams.stdout)));
    return 0;
  },
});

function summaryText({ nodes, files, warnings }: RebuildSummary, isPlan: boolean, width: number): string {
  const verb = isPlan ? 'would be' : 'were';
  // The content of a node that is still to be adopted is unknown; a warning says so.
  const none = isPlan && nodes.length > 0 ? 'no files are known yet' : `no files ${verb} put together`;
  const filesLine = files.length === 0 ? none : `files that ${verb} put together:`;
  const lines = [
    nodes.length === 0 ? `no nodes ${verb} adopted` : `nodes that ${verb} adopted: ${nodes.join(', ')}`,
    filesLine,
  ];
  if (files.length > 0) {
    lines.push(
      table(
        [
          { title: 'ID' },
          { title: 'NAME', flexible: 'middle' },
          { title: 'OWNER', leaveOut: 1 },
          { title: 'SIZE', leaveOut: 2, right: true },
          { title: 'VERDICT' },
          { title: 'MISSING', flexible: 'words' },
        ],
        files.map(({ id, name, owner, size, verdict, missingChunks }) => [
          id,
          name,
          owner,
          formatBytes(Number(size)),
          verdict,
          missingChunks.join(' '),
        ]),
        width,
      ),
    );
  }
  return [...lines, ...warnings.map((warning) => `warning: ${warning}`)].join('\n');
}

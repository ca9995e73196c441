/** `nexus file download` */
import { NexusError } from '../../shared/errors.js';
import type { File } from '../../shared/gen/nexus/v1/file.js';
import { downloadFile } from '../../shared/transfer/download.js';
import { expectFile } from '../../shared/rpc/file-catalogue.js';
import { grpcCatalogue } from '../connect/catalogue.js';
import { command } from '../runner/command.js';
import type { Controller } from '../connect/connection.js';
import type { Context } from '../runner/context.js';
import { FileDestination } from '../local/destination.js';
import { formatBytes } from '../terminal/format.js';
import { openProgress } from '../terminal/progress.js';
import { writeTo } from '../terminal/streams.js';

export const download = command({
  summary: 'fetch a file',
  details:
    'Every chunk is checked before its bytes are written. A file appears under its name only when it is complete.',
  positionals: {
    id: { description: 'id, unique beginning of one, or a name', completes: 'file', field: 'file' },
    dest: { description: 'file or folder to write, or - for standard output', completes: 'local' },
  },
  flags: {
    range: { type: 'string', hint: 'FROM-TO', description: 'only these bytes, both counted from 0 and included' },
  },
  examples: [
    ['nexus file download 3f2a backup.tar', 'by the beginning of the id'],
    ['nexus file download 3f2a - | tar t', 'to a pipe'],
    ['nexus file download 3f2a - --range 0-99', 'the first hundred bytes'],
  ],
  run: async (input, context) => {
    const controller = await context.connect();
    const { file: found } = await controller.call(controller.file, controller.file.getFile, { file: input.id });
    const file = expectFile(found);
    const range = input.range === undefined ? undefined : parseRange(input.range, Number(file.size));
    if (input.dest === '-') {
      await fetch(controller, context, { file, range }, (data) =>
        writeTo(context.streams.stdout, data, context.signal),
      );
      return 0;
    }
    await using destination = await FileDestination.open(input.dest, file.name, context);
    await fetch(controller, context, { file, range }, (data) => destination.write(data));
    await destination.publish();
    await context.print(
      { id: file.id, name: file.name, size: bytesOf({ file, range }), path: destination.path },
      (shape) => `${shape.path}  ${formatBytes(shape.size)}`,
    );
    return 0;
  },
});

interface Wanted {
  readonly file: File;
  /** `end` is the byte after the last. */
  readonly range: { readonly start: number; readonly end: number } | undefined;
}

const bytesOf = ({ file, range }: Wanted): number =>
  range === undefined ? Number(file.size) : range.end - range.start;

/** As in HTTP: both ends included, `5-` to the end, `-5` the last five. */
function parseRange(text: string, size: number): { start: number; end: number } {
  const [, from = '', to = ''] = /^(\d{0,15})-(\d{0,15})$/.exec(text) ?? [];
  const start = from === '' ? Math.max(0, size - Number(to)) : Number(from);
  const end = from === '' || to === '' ? size : Math.min(size, Number(to) + 1);
  if ((from === '' && to === '') || start >= end) {
    throw new NexusError('invalid_argument', `--range ${text} is no range of a file of ${size} bytes; write FROM-TO`);
  }
  return { start, end };
}

async function fetch(
  controller: Controller,
  context: Context,
  wanted: Wanted,
  deliver: (data: Buffer) => Promise<void>,
): Promise<void> {
  const { file, range } = wanted;
  const progress = await openProgress(`download ${file.name}`, bytesOf(wanted), context.streams.stderr);
  try {
    await downloadFile(grpcCatalogue(controller), {
      fileId: file.id,
      chunksCount: file.chunksCount,
      hasExplicitSizes: file.explicitSizes,
      ...(range === undefined ? {} : { range }),
      deliver,
      signal: context.signal,
      onProgress: (bytes) => {
        progress.add(bytes);
      },
    });
  } finally {
    progress.close();
  }
}

/** `nexus file download` */
import type { File } from '../../shared/gen/nexus/v1/file.js';
import { downloadFile } from '../../shared/transfer/download.js';
import { expectFile, grpcCatalogue } from '../catalogue.js';
import { command } from '../command.js';
import type { Controller } from '../connection.js';
import type { Context } from '../context.js';
import { FileDestination } from '../destination.js';
import { formatBytes } from '../format.js';
import { openProgress } from '../progress.js';
import { writeTo } from '../streams.js';

export const download = command({
  summary: 'fetch a file',
  details: 'Every chunk is checked before its bytes are written. A file appears under its name only when it is whole.',
  positionals: {
    id: { description: 'id or unique beginning of one' },
    dest: { description: 'file or folder to write, or - for standard output' },
  },
  flags: {},
  examples: [
    ['nexus file download 3f2a backup.tar', 'by the beginning of the id'],
    ['nexus file download 3f2a - | tar t', 'to a pipe'],
  ],
  run: async (input, context) => {
    const controller = await context.connect();
    const { file: found } = await controller.call(controller.file, controller.file.getFile, { file: input.id });
    const file = expectFile(found);
    if (input.dest === '-') {
      await fetch(controller, context, file, (data) => writeTo(context.streams.stdout, data));
      return 0;
    }
    await using destination = await FileDestination.open(input.dest, file.name, context.streams.env);
    await fetch(controller, context, file, (data) => destination.write(data));
    await destination.publish();
    await context.print(
      { id: file.id, name: file.name, size: Number(file.size), path: destination.path },
      (shape) => `${shape.path}  ${formatBytes(shape.size)}`,
    );
    return 0;
  },
});

async function fetch(
  controller: Controller,
  context: Context,
  file: File,
  deliver: (data: Buffer) => Promise<void>,
): Promise<void> {
  const progress = await openProgress(`download ${file.name}`, Number(file.size), context.streams.stderr);
  try {
    await downloadFile(grpcCatalogue(controller), {
      fileId: file.id,
      chunksCount: file.chunksCount,
      deliver,
      signal: context.signal,
      onProgress: (bytes) => {
        progress.add(bytes);
      },
    });
  } finally {
    progress.stop();
  }
}

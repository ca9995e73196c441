/** `nexus file upload` */
import { basename } from 'node:path';
import type { Readable } from 'node:stream';
import { MAX_REPLICAS } from '../../shared/limits.js';
import { fileSource, streamSource, type ByteSource } from '../../shared/transfer/source.js';
import { uploadFile } from '../../shared/transfer/upload.js';
import { parseInteger } from '../arguments.js';
import { grpcCatalogue } from '../catalogue.js';
import { command } from '../command.js';
import type { Context } from '../context.js';
import { formatBytes } from '../format.js';
import { openForReading } from '../local-file.js';
import { openProgress } from '../progress.js';
import { fileShape } from '../shapes.js';

export const upload = command({
  summary: 'store a file',
  details:
    'The file is cut into chunks of 10 MiB that go straight to the nodes. It appears in the list when all of it is stored.',
  positionals: { path: { description: 'file to store, or - for standard input' } },
  flags: {
    name: { type: 'string', hint: 'NAME', description: 'name to store it under (default: its own; "stdin" for -)' },
    replicas: { type: 'string', short: 'r', hint: 'N', description: 'copies of each chunk, on different nodes' },
  },
  examples: [
    ['nexus file upload backup.tar', 'prints the id'],
    ['tar c photos | nexus file upload - --name photos.tar', 'from a pipe'],
  ],
  run: async (input, context) => {
    const replicas = input.replicas === undefined ? 0 : parseInteger(input.replicas, 'replicas', 1, MAX_REPLICAS);
    await using source = await openSource(input.path, context);
    const controller = await context.connect();
    const name = input.name ?? (input.path === '-' ? 'stdin' : basename(input.path));
    const progress = await openProgress(`upload ${name}`, source.size, context.streams.stderr);
    try {
      const file = await uploadFile(grpcCatalogue(controller), {
        name,
        replicas,
        expectedSize: source.size,
        source: source.bytes,
        signal: context.signal,
        onProgress: (bytes) => {
          progress.add(bytes);
        },
      });
      progress.stop();
      await context.print(
        fileShape(file),
        () => `${file.id}  ${file.name}  ${formatBytes(Number(file.size))} in ${file.chunksCount} chunk(s)`,
      );
    } finally {
      progress.stop();
    }
    return 0;
  },
});

interface OpenSource extends AsyncDisposable {
  readonly bytes: ByteSource;
  /** 0: unknown. */
  readonly size: number;
}

async function openSource(path: string, context: Context): Promise<OpenSource> {
  if (path === '-') return openStandardInput(context);
  const { file, size } = await openForReading(path, `pipe an archive: tar c ${path} | nexus file upload -`);
  return { bytes: fileSource(file), size, [Symbol.asyncDispose]: () => file.close() };
}

/** An interrupt ends it, too: a pipe that nothing comes from would be waited for. */
function openStandardInput({ streams, signal }: Context): OpenSource {
  const stdin = streams.stdin as Readable;
  const cancel = (): void => {
    stdin.destroy(signal.reason as Error);
  };
  // Whoever reads at that moment gets the error; at any other it must not end the process.
  stdin.on('error', () => undefined);
  signal.addEventListener('abort', cancel, { once: true });
  return {
    bytes: streamSource(stdin as AsyncIterable<Uint8Array>),
    size: 0,
    [Symbol.asyncDispose]: () => {
      signal.removeEventListener('abort', cancel);
      return Promise.resolve();
    },
  };
}

/** `nexus file upload` */
import { basename } from 'node:path';
import { NexusError } from '../../shared/errors.js';
import { MAX_REPLICAS } from '../../shared/limits.js';
import { uploadFile } from '../../shared/transfer/upload.js';
import { parseInteger } from '../runner/arguments.js';
import { grpcCatalogue } from '../connect/catalogue.js';
import { command } from '../runner/command.js';
import { formatBytes } from '../terminal/format.js';
import { openProgress } from '../terminal/progress.js';
import { fileShape } from '../runner/shapes.js';
import { openSource } from '../local/source.js';
import { visible } from '../terminal/visible.js';

export const upload = command({
  summary: 'store a file',
  details:
    'The file is cut into chunks of 10 MiB that go straight to the nodes. It appears in the list when all of it is stored.',
  positionals: { path: { description: 'file to store, or - for standard input', completes: 'local' } },
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
    await using source = await openSource(
      input.path,
      context,
      `pipe an archive, tar c ${input.path} | nexus file upload -, or store it as a folder: nexus fs upload`,
    );
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
      }).catch((thrown: unknown) => {
        throw input.name === undefined ? ofOwnName(thrown, name) : thrown;
      });
      progress.close();
      await context.print(
        fileShape(file),
        () => `${file.id}  ${file.name}  ${formatBytes(Number(file.size))} in ${file.chunksCount} chunk(s)`,
      );
    } finally {
      progress.close();
    }
    return 0;
  },
});

/** Nobody typed `--name`: a refusal of it is one of what the file is called here. */
function ofOwnName(thrown: unknown, name: string): unknown {
  if (!(thrown instanceof NexusError) || thrown.details['field'] !== 'name') return thrown;
  return new NexusError(
    thrown.code,
    `"${visible(name)}" can't be its name in the cluster; give another one: --name NAME`,
  );
}

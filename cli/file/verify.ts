/** `nexus file verify` */
import { NexusError } from '../../shared/errors.js';
import { verifyFile, type ReplicaFinding } from '../../shared/transfer/verify.js';
import { expectFile } from '../../shared/rpc/file-catalogue.js';
import { grpcCatalogue } from '../connect/catalogue.js';
import { command } from '../runner/command.js';
import { openProgress } from '../terminal/progress.js';

export const verify = command({
  summary: 'read every replica and check it',
  details: 'Nothing is written. Exit code 1 when a replica is damaged or cannot be read.',
  positionals: { id: { description: 'id, unique beginning of one, or a name', completes: 'file', field: 'file' } },
  flags: {},
  examples: [['nexus file verify 3f2a', 'every copy of every chunk']],
  run: async (input, context) => {
    const controller = await context.connect();
    const { file: found } = await controller.call(controller.file, controller.file.getFile, { file: input.id });
    const file = expectFile(found);
    const progress = await openProgress(`verify ${file.name}`, Number(file.size), context.streams.stderr);
    const findings = await verifyFile(grpcCatalogue(controller), {
      fileId: file.id,
      chunksCount: file.chunksCount,
      signal: context.signal,
      onProgress: (bytes) => {
        progress.add(bytes);
      },
    }).finally(() => {
      progress.close();
    });
    const bad = findings.filter((finding) => finding.problem !== '');
    const shape = {
      id: file.id,
      name: file.name,
      ok: bad.length === 0,
      replicas: findings.length,
      problems: bad.map(({ index, chunkId, node, problem }) => ({ index, chunk_id: chunkId, node, problem })),
    };
    await context.print(shape, ({ replicas }) =>
      bad.length === 0 ? `${file.name}: all ${replicas} replica(s) are whole` : bad.map(lineOf).join('\n'),
    );
    const [worst] = bad;
    if (worst === undefined) return 0;
    throw new NexusError(
      'data_loss',
      `${bad.length} of ${findings.length} replicas of ${file.id} are bad: ${lineOf(worst)}`,
    );
  },
});

/** A chunk without any readable replica has no node; its problem names the chunk. */
const lineOf = ({ index, node, problem }: ReplicaFinding): string =>
  node === '' ? problem : `chunk ${index} on node ${node}: ${problem}`;

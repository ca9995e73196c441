/** `nexus up --demo`: three nodes and a file on its way through them, each step with the command a person would type. */
import { createHash, randomBytes } from 'node:crypto';
import { mkdtemp, open, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { systemClock } from '../../shared/async/clock.js';
import { NexusError } from '../../shared/errors.js';
import type { File } from '../../shared/gen/nexus/v1/file.js';
import { GIB, MIB } from '../../shared/limits.js';
import { downloadFile } from '../../shared/transfer/download.js';
import { fileSource } from '../../shared/transfer/source.js';
import { uploadFile } from '../../shared/transfer/upload.js';
import { grpcCatalogue } from '../connect/catalogue.js';
import { SLOW_DEADLINE_MS, type Controller } from '../connect/connection.js';
import type { Context } from '../runner/context.js';
import { formatBytes, formatSeconds } from '../terminal/format.js';
import { openProgress } from '../terminal/progress.js';
import { writeTo } from '../terminal/streams.js';

const NODES = ['demo-1', 'demo-2', 'demo-3'];
const NODE_STORAGE_BYTES = GIB;
const FILE_BYTES = 256 * MIB;
const FILE_NAME = 'demo.bin';

export async function tour(context: Context, controller: Controller): Promise<number> {
  const folder = await mkdtemp(join(tmpdir(), 'nexus-demo-'));
  try {
    await nodes(context, controller);
    const path = join(folder, FILE_NAME);
    const made = await step(
      context,
      `a file of ${formatBytes(FILE_BYTES)}, at random`,
      `head -c 256M /dev/urandom > ${FILE_NAME}`,
      () => randomFile(path),
    );
    const file = await step(
      context,
      'stored in chunks of 10 MiB over the nodes',
      `nexus file upload ${FILE_NAME}`,
      () => store(context, controller, path),
    );
    await list(context, controller, file);
    await where(context, controller, file);
    const copy = join(folder, 'copy.bin');
    const fetched = await step(
      context,
      'fetched again, every chunk checked',
      `nexus file download ${file.id.slice(0, 8)} copy.bin`,
      () => fetch(context, controller, file, copy),
    );
    if (fetched !== made) throw new NexusError('data_loss', `the copy differs: SHA-256 ${fetched}, stored was ${made}`);
    await say(context, `   identical: SHA-256 ${made}`);
    await say(
      context,
      '\nThe cluster stays up. Next: nexus node exec -it demo-1 -- sh   nexus status   nexus down --purge',
    );
    return 0;
  } finally {
    await rm(folder, { recursive: true, force: true }).catch(() => undefined);
  }
}

const say = (context: Context, line: string): Promise<void> => writeTo(context.streams.stdout, `${line}\n`);

async function step<T>(context: Context, title: string, typed: string, work: () => Promise<T>): Promise<T> {
  await say(context, `\n== ${title}\n   $ ${typed}`);
  const startedAt = systemClock.monotonic();
  const result = await work();
  await say(context, `   done in ${formatSeconds(systemClock.monotonic() - startedAt)}`);
  return result;
}

async function nodes(context: Context, controller: Controller): Promise<void> {
  const { node } = controller;
  const there = new Map((await controller.call(node, node.listNodes, {})).nodes.map((found) => [found.name, found]));
  await step(
    context,
    'three nodes: containers with their own limits, address and volume',
    'nexus node create demo-1 --storage 1G   (and demo-2, demo-3)',
    () =>
      Promise.all(
        NODES.map(async (name) => {
          const found = there.get(name);
          if (found?.status === 'Running') return;
          if (found !== undefined) await controller.call(node, node.startNode, { node: name }, SLOW_DEADLINE_MS);
          else {
            const request = {
              name,
              memoryMb: 0,
              cpuShares: 0,
              storageSize: BigInt(NODE_STORAGE_BYTES),
              image: '',
              labels: {},
              pidsLimit: 0,
            };
            await controller.call(node, node.createNode, request, SLOW_DEADLINE_MS);
          }
        }),
      ),
  );
  const { nodes: made } = await controller.call(node, node.listNodes, {});
  for (const { name, ip, status } of made.filter((found) => NODES.includes(found.name)))
    await say(context, `   ${name}  ${ip}  ${status}`);
}

/** Answers the SHA-256 of what was written. */
async function randomFile(path: string): Promise<string> {
  const file = await open(path, 'wx');
  const hash = createHash('sha256');
  try {
    for (let written = 0; written < FILE_BYTES; written += MIB) {
      const piece = randomBytes(MIB);
      hash.update(piece);
      await file.write(piece);
    }
  } finally {
    await file.close().catch(() => undefined);
  }
  return hash.digest('hex');
}

async function store(context: Context, controller: Controller, path: string): Promise<File> {
  const file = await open(path, 'r');
  const progress = await openProgress('   upload', FILE_BYTES, context.streams.stderr);
  const onProgress = (bytes: number): void => {
    progress.add(bytes);
  };
  try {
    const request = {
      name: FILE_NAME,
      replicas: 0,
      expectedSize: FILE_BYTES,
      source: fileSource(file, path),
      signal: context.signal,
      onProgress,
    };
    return await uploadFile(grpcCatalogue(controller), request);
  } finally {
    progress.close();
    await file.close().catch(() => undefined);
  }
}

async function list(context: Context, controller: Controller, stored: File): Promise<void> {
  const { files } = await controller.call(controller.file, controller.file.listFiles, {
    pageSize: 0,
    pageToken: '',
    statuses: [],
  });
  const found = files.find((file) => file.id === stored.id);
  if (found === undefined) throw new NexusError('internal', `file ${stored.id} is stored but not listed`);
  await say(
    context,
    `\n== in the list\n   $ nexus file ls\n   ${found.id}  ${found.name}  ${formatBytes(Number(found.size))}  ${found.chunksCount} chunks`,
  );
}

async function where(context: Context, controller: Controller, file: File): Promise<void> {
  const { chunks } = await controller.call(controller.file, controller.file.locateFile, { file: file.id, why: false });
  const perNode = new Map<string, number>();
  for (const { node } of chunks.flatMap((chunk) => chunk.replicas)) perNode.set(node, (perNode.get(node) ?? 0) + 1);
  await say(context, `\n== where its chunks lie\n   $ nexus file where ${file.id.slice(0, 8)}`);
  for (const [node, count] of [...perNode].sort()) await say(context, `   ${node}  ${count} chunks`);
}

async function fetch(context: Context, controller: Controller, file: File, path: string): Promise<string> {
  const output = await open(path, 'wx');
  const hash = createHash('sha256');
  const progress = await openProgress('   download', FILE_BYTES, context.streams.stderr);
  try {
    await downloadFile(grpcCatalogue(controller), {
      fileId: file.id,
      chunksCount: file.chunksCount,
      hasExplicitSizes: file.explicitSizes,
      deliver: async (data) => {
        hash.update(data);
        await output.write(data);
      },
      signal: context.signal,
      onProgress: (bytes) => {
        progress.add(bytes);
      },
    });
    return hash.digest('hex');
  } finally {
    progress.close();
    await output.close().catch(() => undefined);
  }
}

/** `nexus file ls`, `stat`, `where`, `rm` */
import type { File, LocateFileResponse } from '../../shared/gen/nexus/v1/file.js';
import { expectFile } from '../../shared/rpc/file-catalogue.js';
import { command } from '../command.js';
import type { Controller } from '../connection.js';
import { formatAge, formatBytes } from '../format.js';
import { facts, table, widthOf } from '../output.js';
import { throwFailures, tryEach } from '../several.js';
import { fileShape, whereShape } from '../shapes.js';

const ID = { id: { description: 'id or unique beginning of one', completes: 'file', field: 'file' } } as const;

async function allFiles(controller: Controller): Promise<File[]> {
  const files: File[] = [];
  let pageToken = '';
  do {
    const page = await controller.call(controller.file, controller.file.listFiles, { pageSize: 0, pageToken });
    files.push(...page.files);
    pageToken = page.nextPageToken;
  } while (pageToken !== '');
  return files;
}

const fileTable = (files: readonly File[], width: number): string =>
  files.length === 0
    ? 'no files; store one with: nexus file upload PATH'
    : table(
        [
          { title: 'ID' },
          { title: 'NAME', flexible: true },
          { title: 'SIZE', right: true },
          { title: 'CHUNKS', right: true },
          { title: 'REPLICAS', right: true },
          { title: 'AGE', right: true },
        ],
        files.map((file) => [
          file.id,
          file.name,
          formatBytes(Number(file.size)),
          String(file.chunksCount),
          String(file.replicas),
          formatAge(file.createdAt),
        ]),
        width,
      );

export const list = command({
  summary: 'list all files',
  positionals: {},
  flags: {},
  examples: [['nexus file ls', 'oldest first']],
  run: async (_input, context) => {
    const files = await allFiles(await context.connect());
    await context.print(files.map(fileShape), () => fileTable(files, widthOf(context.streams.stdout)));
    return 0;
  },
});

export const stat = command({
  summary: 'facts about one file',
  positionals: ID,
  flags: {},
  examples: [['nexus file stat 3f2a', 'name, size, chunks']],
  run: async (input, context) => {
    const controller = await context.connect();
    const { file } = await controller.call(controller.file, controller.file.getFile, { file: input.id });
    const found = expectFile(file);
    await context.print(fileShape(found), () =>
      facts([
        ['id', found.id],
        ['name', found.name],
        ['size', `${formatBytes(Number(found.size))} (${found.size} bytes)`],
        ['chunks', String(found.chunksCount)],
        ['replicas', String(found.replicas)],
        ['owner', found.owner],
        ['status', found.status],
        ['created', found.createdAt],
      ]),
    );
    return 0;
  },
});

export const where = command({
  summary: 'which node has which chunk',
  positionals: ID,
  flags: { why: { type: 'boolean', description: 'also why each copy is where it is' } },
  examples: [
    ['nexus file where 3f2a', 'one line per chunk'],
    ['nexus file where 3f2a --why', 'one line per copy'],
  ],
  run: async (input, context) => {
    const controller = await context.connect();
    const located = await controller.call(controller.file, controller.file.locateFile, {
      file: input.id,
      why: input.why,
    });
    const width = widthOf(context.streams.stdout);
    await context.print(whereShape(located), () => (input.why ? whyTable(located, width) : whereTable(located, width)));
    return 0;
  },
});

const whereTable = (located: LocateFileResponse, width: number): string =>
  table(
    [
      { title: 'CHUNK', right: true },
      { title: 'SIZE', right: true },
      { title: 'MD5' },
      { title: 'NODES', flexible: true },
    ],
    located.chunks.map((chunk) => [
      String(chunk.index),
      formatBytes(chunk.size),
      chunk.md5,
      chunk.replicas.map(({ node, state }) => (state === 'ready' ? node : `${node} (${state})`)).join(' '),
    ]),
    width,
  );

const whyTable = (located: LocateFileResponse, width: number): string =>
  table(
    [{ title: 'CHUNK', right: true }, { title: 'NODE' }, { title: 'STATE' }, { title: 'WHY', flexible: true }],
    located.chunks.flatMap((chunk) =>
      chunk.replicas.map(({ node, state, reason }) => [String(chunk.index), node, state, reason]),
    ),
    width,
  );

export const remove = command({
  summary: 'remove files',
  positionals: {
    ids: { description: 'ids or unique beginnings of ids', completes: 'file', many: true, field: 'file' },
  },
  flags: {},
  examples: [['nexus file rm 3f2a 77b1', 'at once from the list, from the nodes a moment later']],
  run: async (input, context) => {
    const controller = await context.connect();
    const { file: client } = controller;
    const outcome = await tryEach(input.ids, (id) => controller.call(client, client.removeFile, { file: id }));
    await context.print(
      outcome.done.map(({ id, name }) => ({ id, name })),
      (files) => files.map(({ id, name }) => `removed ${id}  ${name}`).join('\n'),
    );
    throwFailures(outcome);
    return 0;
  },
});

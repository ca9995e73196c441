/** `nexus file ls`, `stat`, `where`, `rm` */
import type { File, LocateFileResponse } from '../../shared/gen/nexus/v1/file.js';
import { NexusError } from '../../shared/errors.js';
import { expectFile } from '../../shared/rpc/file-catalogue.js';
import { command } from '../runner/command.js';
import type { Controller } from '../connect/connection.js';
import { formatAge, formatBytes } from '../terminal/format.js';
import { facts, table, widthOf } from '../terminal/output.js';
import { throwFailures, tryEach } from '../runner/several.js';
import { fileShape, whereShape } from '../runner/shapes.js';

const ID = { id: { description: 'id, unique beginning of one, or a name', completes: 'file', field: 'file' } } as const;

/** Statuses that files can be listed by; files that are `uploading` never are. */
const STATUSES = ['ready', 'unavailable', 'partial', 'damaged', 'lost'] as const;
/** Statuses that do not improve by themselves. */
const LOST = ['lost', 'damaged', 'partial'];

async function allFiles(controller: Controller, statuses: readonly string[]): Promise<File[]> {
  const files: File[] = [];
  let pageToken = '';
  do {
    const page = await controller.call(controller.file, controller.file.listFiles, {
      pageSize: 0,
      pageToken,
      statuses: [...statuses],
    });
    files.push(...page.files);
    pageToken = page.nextPageToken;
  } while (pageToken !== '');
  return files;
}

/** The status has a column only if some file is not ready. */
function fileTable(files: readonly File[], width: number): string {
  const isMarked = files.some((file) => file.status !== 'ready');
  return table(
    [
      { title: 'ID' },
      { title: 'NAME', least: 20, flexible: 'middle' },
      ...(isMarked ? [{ title: 'STATUS' }] : []),
      { title: 'SIZE', right: true },
      { title: 'CHUNKS', leaveOut: 2, right: true },
      { title: 'REPLICAS', leaveOut: 1, right: true },
      { title: 'AGE', leaveOut: 3, right: true },
    ],
    files.map((file) => [
      file.id,
      file.name,
      ...(isMarked ? [file.status] : []),
      formatBytes(Number(file.size)),
      String(file.chunksCount),
      String(file.replicas),
      formatAge(file.createdAt),
    ]),
    width,
  );
}

/** Code: invalid_argument. */
function wantedStatuses({ lost, status }: { readonly lost: boolean; readonly status: string | undefined }): string[] {
  const given = status === undefined ? [] : status.split(',');
  const unknown = given.find((one) => !(STATUSES as readonly string[]).includes(one));
  if (unknown !== undefined)
    throw new NexusError('invalid_argument', `--status ${unknown}: must be one of ${STATUSES.join(', ')}`);
  return [...new Set([...given, ...(lost ? LOST : [])])];
}

export const list = command({
  summary: 'list all files',
  details:
    'Statuses: ready: every byte can be read; unavailable: some chunk is only on nodes that are down; damaged: some chunk has only damaged copies left; lost: some chunk has no copy left; partial: restored without some of its chunks. A column shows files that are not ready.',
  positionals: {},
  flags: {
    lost: { type: 'boolean', description: 'only files that are lost, damaged or partial' },
    status: { type: 'string', hint: 'STATUS,...', description: `only files of these statuses: ${STATUSES.join(', ')}` },
  },
  examples: [
    ['nexus file ls', 'oldest first'],
    ['nexus file ls --lost', 'files that do not come back by themselves'],
  ],
  run: async (input, context) => {
    const statuses = wantedStatuses(input);
    const files = await allFiles(await context.connect(), statuses);
    await context.print(files.map(fileShape), () => {
      if (files.length > 0) return fileTable(files, widthOf(context.streams.stdout));
      return statuses.length === 0
        ? 'no files; store one with: nexus file upload PATH'
        : `no file is ${statuses.join(' or ')}`;
    });
    return 0;
  },
});

/** Explains a status, with advice. */
const HINTS: Readonly<Record<string, string>> = {
  unavailable: '  (some chunk is only on nodes that are down: start or restart them; nexus file where shows which)',
  partial: '  (restored without some of its chunks; store the file again)',
  damaged: '  (some chunk has only damaged copies left; store the file again)',
  lost: '  (some chunk has no copy left; store the file again)',
};

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
      facts(
        [
          ['id', found.id],
          ['name', found.name],
          ['size', `${formatBytes(Number(found.size))} (${found.size} bytes)`],
          ['chunks', String(found.chunksCount)],
          ['replicas', String(found.replicas)],
          ['owner', found.owner],
          ['status', `${found.status}${HINTS[found.status] ?? ''}`],
          ['created', found.createdAt],
        ],
        widthOf(context.streams.stdout),
      ),
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
      { title: 'MD5', leaveOut: 1 },
      { title: 'NODES', least: 20, flexible: 'words' },
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
    [
      { title: 'CHUNK', right: true },
      { title: 'NODE', least: 16, flexible: 'middle' },
      { title: 'STATE' },
      { title: 'WHY', least: 30, flexible: 'words' },
    ],
    located.chunks.flatMap((chunk) =>
      chunk.replicas.map(({ node, state, reason }) => [String(chunk.index), node, state, reason]),
    ),
    width,
  );

export const remove = command({
  summary: 'remove files',
  positionals: {
    ids: { description: 'ids, unique beginnings of ids, or names', completes: 'file', many: true, field: 'file' },
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

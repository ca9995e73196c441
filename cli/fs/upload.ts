/** `nexus fs upload`: a file, standard input, or a folder with everything in it. */
import { stat } from 'node:fs/promises';
import { basename, join, resolve } from 'node:path';
import { NexusError } from '../../shared/errors.js';
import type { File } from '../../shared/gen/nexus/v1/file.js';
import type { FsEntry } from '../../shared/gen/nexus/v1/fs.js';
import { MAX_REPLICAS } from '../../shared/limits.js';
import { uploadFile } from '../../shared/transfer/upload.js';
import { parseInteger } from '../runner/arguments.js';
import { fsUploadCatalogue, type FsTarget } from '../connect/catalogue.js';
import { command } from '../runner/command.js';
import type { Controller } from '../connect/connection.js';
import type { Context } from '../runner/context.js';
import { throwFileFailures, tryEachFile } from './each-file.js';
import { formatBytes } from '../terminal/format.js';
import { assertUtf8, childPath, expectEntry, findEntry } from './entries.js';
import { count } from '../terminal/format.js';
import { readLocalTree, type LocalTree } from '../local/local-tree.js';
import { visible } from '../terminal/output.js';
import { openProgress, type Progress } from '../terminal/progress.js';
import { entryShape } from '../runner/shapes.js';
import { openSource } from '../local/source.js';
import { storeSmallFiles } from './small-files.js';

export const upload = command({
  summary: 'store a file or a folder',
  details:
    'If the path is an existing folder, stores into it. A folder is stored file by file; failures are reported at the end, and links are not followed.',
  positionals: {
    source: { description: 'file or folder to store, or - for standard input', completes: 'local' },
    path: { description: 'absolute path that it gets, or the folder to put it into', completes: 'entry' },
  },
  flags: {
    overwrite: { type: 'boolean', description: 'replace existing files' },
    parents: { type: 'boolean', short: 'p', description: 'make missing folders above it' },
    replicas: { type: 'string', short: 'r', hint: 'N', description: 'copies of each chunk, on different nodes' },
  },
  examples: [
    ['nexus fs upload a.jpg /photos/a.jpg', 'one file'],
    ['nexus fs upload holiday /photos', 'a folder: becomes /photos/holiday'],
    ['tar c src | nexus fs upload - /backup/src.tar -p', 'from a pipe'],
  ],
  run: async (input, context) => {
    const replicas = input.replicas === undefined ? 0 : parseInteger(input.replicas, 'replicas', 1, MAX_REPLICAS);
    const options: Options = { overwrite: input.overwrite, parents: input.parents, replicas };
    assertUtf8(input.source, 'SOURCE');
    assertUtf8(input.path, 'PATH');
    const isFolder = input.source !== '-' && (await stat(input.source).catch(() => undefined))?.isDirectory() === true;
    const controller = await context.connect();
    const target = await targetOf(controller, input.source, input.path);
    const store = isFolder ? uploadFolder : uploadOne;
    return await store(controller, context, input.source, target, options).catch(async (thrown: unknown) => {
      throw target === input.path ? thrown : await ofOwnName(controller, input, thrown);
    });
  },
});

interface Options {
  readonly overwrite: boolean;
  readonly parents: boolean;
  readonly replicas: number;
}

/** Like `cp`: into a folder that is there, or wherever the path ends with a slash. */
async function targetOf(controller: Controller, source: string, path: string): Promise<string> {
  const isInto = path.endsWith('/') || (await findEntry(controller, path))?.type === 'folder';
  if (!isInto) return path;
  if (source !== '-') return childPath(path, basename(resolve(source)));
  throw new NexusError(
    'invalid_argument',
    `${path} is a folder; give the name of the file: ${childPath(path, 'NAME')}`,
  );
}

/** Into a folder: a refusal of the path is one of what the source is called here, unless it is of the folder's. */
async function ofOwnName(
  controller: Controller,
  { source, path }: { readonly source: string; readonly path: string },
  thrown: unknown,
): Promise<unknown> {
  if (!(thrown instanceof NexusError) || thrown.details['field'] !== 'path') return thrown;
  const isFolders = await findEntry(controller, path).then(
    () => false,
    () => true,
  );
  if (isFolders) return thrown;
  const name = visible(basename(resolve(source)));
  return new NexusError(
    thrown.code,
    `"${name}" can't be its name in the cluster; give another one: ${childPath(path, 'NAME')}`,
  );
}

async function uploadOne(
  controller: Controller,
  context: Context,
  source: string,
  path: string,
  options: Options,
): Promise<number> {
  const { replicas, ...target } = options;
  await using opened = await openSource(source, context, 'give the path of a file');
  const progress = await openProgress(`upload ${path}`, opened.size, context.streams.stderr);
  let file: File;
  try {
    file = await send(controller, context, { ...target, path }, { ...opened, replicas }, progress);
  } finally {
    progress.close();
  }
  const stored = await storedEntry(controller, path, file);
  await context.print(entryShape(stored), () => `${visible(stored.path)}  ${formatBytes(Number(stored.size))}`);
  return 0;
}

/** The file is stored: that its entry could not be looked at must not be told as if it were not. */
async function storedEntry(controller: Controller, path: string, file: File): Promise<FsEntry> {
  try {
    return expectEntry((await controller.call(controller.fs, controller.fs.statEntry, { path })).entry);
  } catch {
    const { id: fileId, size, createdAt, status } = file;
    return { name: basename(path), path, type: 'file', size, createdAt, modifiedAt: createdAt, fileId, status };
  }
}

function send(
  controller: Controller,
  context: Context,
  target: FsTarget,
  from: {
    readonly bytes: Parameters<typeof uploadFile>[1]['source'];
    readonly size: number;
    readonly replicas: number;
  },
  progress: Progress,
): Promise<File> {
  return uploadFile(fsUploadCatalogue(controller, target), {
    name: basename(target.path),
    replicas: from.replicas,
    expectedSize: from.size,
    source: from.bytes,
    signal: context.signal,
    onProgress: (bytes) => {
      progress.add(bytes);
    },
  });
}

async function uploadFolder(
  controller: Controller,
  context: Context,
  source: string,
  root: string,
  options: Options,
): Promise<number> {
  const tree = await readLocalTree(source, context.signal);
  const { fs } = controller;
  // The topmost one first, as asked for: a missing parent is refused before anything is made.
  const isThere = (await findEntry(controller, root))?.type === 'folder';
  if (!isThere) await controller.call(fs, fs.makeFolder, { path: root, parents: options.parents });
  for (const folder of tree.folders)
    await controller.call(fs, fs.makeFolder, { path: childPath(root, folder), parents: true });
  const progress = await openProgress(`upload ${count(tree.files.length, 'file')}`, tree.bytes, context.streams.stderr);
  const packed = await storeSmallFiles(controller, context, tree.files, {
    source,
    root,
    overwrite: options.overwrite,
    replicas: options.replicas,
    onStored: (bytes) => {
      progress.add(bytes);
    },
  });
  const single = await tryEachFile(
    packed.left,
    async (name) => {
      await using opened = await openSource(
        join(source, name),
        context,
        'it was replaced during the upload; try again',
      );
      const target = { path: childPath(root, name), overwrite: options.overwrite, parents: false };
      return await send(controller, context, target, { ...opened, replicas: options.replicas }, progress);
    },
    [...tree.failures, ...packed.failures],
  ).finally(() => {
    progress.close();
  });
  const outcome = { done: [...packed.done, ...single.done], failures: single.failures };
  await context.print(resultOf(root, tree, outcome.done), (result) => resultText(result));
  throwFileFailures(outcome, 'these and the folders stay, and the others are not stored');
  return 0;
}

interface FolderResult {
  readonly path: string;
  readonly files: number;
  readonly folders: number;
  readonly bytes: number;
  readonly skipped: readonly string[];
}

const resultOf = (path: string, tree: LocalTree, stored: readonly File[]): FolderResult => ({
  path,
  files: stored.length,
  folders: tree.folders.length + 1,
  bytes: stored.reduce((sum, { size }) => sum + Number(size), 0),
  skipped: tree.skipped,
});

const resultText = ({ path, files, folders, bytes, skipped }: FolderResult): string =>
  [
    `${visible(path)}  ${count(files, 'file')} in ${count(folders, 'folder')}, ${formatBytes(bytes)}`,
    ...skipped.map((name) => `skipped ${visible(name)}: neither file nor folder`),
  ].join('\n');

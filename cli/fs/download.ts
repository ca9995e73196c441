/** `nexus fs download`: a file, to a file or standard output, or a folder with everything in it. */
import { mkdir, stat } from 'node:fs/promises';
import { basename, join } from 'node:path';
import { NexusError } from '../../shared/errors.js';
import type { FsEntry } from '../../shared/gen/nexus/v1/fs.js';
import { downloadFile } from '../../shared/transfer/download.js';
import { expectFile } from '../../shared/rpc/file-catalogue.js';
import { grpcCatalogue } from '../connect/catalogue.js';
import { command } from '../runner/command.js';
import type { Controller } from '../connect/connection.js';
import type { Context } from '../runner/context.js';
import { FileDestination, giveToCaller } from '../local/destination.js';
import { throwFileFailures, tryEachFile } from './each-file.js';
import { formatBytes } from '../terminal/format.js';
import { expectEntry, walkFolder } from './entries.js';
import { count } from '../terminal/format.js';
import { openProgress, type Progress } from '../terminal/progress.js';
import { writeTo } from '../terminal/streams.js';
import { systemError } from '../local/system-error.js';

export const download = command({
  summary: 'fetch a file or a folder',
  details:
    'Every chunk is checked before its bytes are written. A file appears under its name only when it is complete; a file that is replaced during the download is fetched as it was.',
  positionals: {
    path: { description: 'absolute path of a file or folder', completes: 'entry' },
    dest: { description: 'file or folder to write, or - for standard output', completes: 'local' },
  },
  flags: {},
  examples: [
    ['nexus fs download /photos/a.jpg .', 'one file, under its own name'],
    ['nexus fs download /photos backup', 'a folder'],
    ['nexus fs download /backup/src.tar - | tar t', 'to a pipe'],
  ],
  run: async (input, context) => {
    const controller = await context.connect();
    const { entry } = await controller.call(controller.fs, controller.fs.statEntry, { path: input.path });
    const found = expectEntry(entry);
    if (found.type === 'folder') return await downloadFolder(controller, context, found, input.dest);
    const progress = await openProgress(`download ${found.name}`, Number(found.size), context.streams.stderr);
    try {
      if (input.dest === '-') {
        await fetch(controller, context, found.path, progress, (data) =>
          writeTo(context.streams.stdout, data, context.signal),
        );
        return 0;
      }
      const path = await fetchTo(controller, context, found, input.dest, progress);
      progress.close();
      await context.print(
        { path: found.path, dest: path, size: Number(found.size) },
        (shape) => `${shape.dest}  ${formatBytes(shape.size)}`,
      );
    } finally {
      progress.close();
    }
    return 0;
  },
});

/** Returns the path that was written. */
async function fetchTo(
  controller: Controller,
  context: Context,
  entry: FsEntry,
  dest: string,
  progress: Progress,
): Promise<string> {
  await using destination = await FileDestination.open(dest, entry.name, context);
  await fetch(controller, context, entry.path, progress, (data) => destination.write(data));
  await destination.publish();
  return destination.path;
}

/** Downloads under a lease, so that replacing the path meanwhile does not cut it short. */
async function fetch(
  controller: Controller,
  context: Context,
  path: string,
  progress: Progress,
  deliver: (data: Buffer) => Promise<void>,
): Promise<void> {
  const { fs } = controller;
  const { file: found, leaseId } = await controller.call(fs, fs.openFsDownload, { path });
  const file = expectFile(found);
  try {
    await downloadFile(grpcCatalogue(controller, leaseId), {
      fileId: file.id,
      chunksCount: file.chunksCount,
      hasExplicitSizes: file.explicitSizes,
      deliver,
      signal: context.signal,
      onProgress: (bytes) => {
        progress.add(bytes);
      },
    });
  } finally {
    // The lease expires by itself if this call fails.
    await controller.call(fs, fs.closeFsDownload, { leaseId }).catch(() => undefined);
  }
}

async function downloadFolder(
  controller: Controller,
  context: Context,
  folder: FsEntry,
  dest: string,
): Promise<number> {
  if (dest === '-')
    throw new NexusError('invalid_argument', `${folder.path} is a folder; give the folder to write it into`);
  const found = await stat(dest).catch(() => undefined);
  if (found !== undefined && !found.isDirectory())
    throw new NexusError('already_exists', `${dest} is a file; give the folder to write ${folder.path} into`);
  // Like `cp -r`: into a folder that exists, otherwise as the folder that is named.
  const root = found === undefined || folder.path === '/' ? dest : join(dest, localName(folder.name));
  const entries: FsEntry[] = [];
  for await (const entry of walkFolder(controller, folder.path)) entries.push(entry);
  context.throwIfInterrupted();
  const places = new Map(entries.map((entry) => [entry.path, join(root, ...localParts(folder, entry))]));
  await makeLocalFolder(root, context);
  for (const { type, path } of entries) if (type === 'folder') await makeLocalFolder(places.get(path) ?? root, context);
  const files = entries.filter(({ type }) => type === 'file');
  const byPath = new Map(files.map((entry) => [entry.path, entry]));
  const bytes = files.reduce((sum, { size }) => sum + Number(size), 0);
  const progress = await openProgress(`download ${count(files.length, 'file')}`, bytes, context.streams.stderr);
  const outcome = await tryEachFile([...byPath.keys()], async (path) => {
    const entry = expectEntry(byPath.get(path));
    await fetchTo(controller, context, entry, places.get(path) ?? root, progress);
    return Number(entry.size);
  }).finally(() => {
    progress.close();
  });
  const fetched = { files: outcome.done.length, bytes: outcome.done.reduce((sum, size) => sum + size, 0) };
  await context.print(
    { path: folder.path, dest: root, folders: entries.length - files.length + 1, ...fetched },
    (shape) =>
      `${shape.dest}  ${count(shape.files, 'file')} in ${count(shape.folders, 'folder')}, ${formatBytes(shape.bytes)}`,
  );
  throwFileFailures(outcome, 'these and the folders stay, and the others are not written');
  return 0;
}

const localParts = (folder: FsEntry, entry: FsEntry): string[] =>
  entry.path
    .slice(folder.path === '/' ? 1 : folder.path.length + 1)
    .split('/')
    .map(localName);

/** Checks that an entry's name is a plain file name here, too, and leads nowhere else. Code: data_loss. */
function localName(name: string): string {
  if (name === '' || name === '.' || name === '..' || name !== basename(name) || name.includes('\0'))
    throw new NexusError('data_loss', `the cluster has an entry called "${name}", which can't be a file's name here`);
  return name;
}

async function makeLocalFolder(path: string, { streams }: Context): Promise<void> {
  try {
    const made = await mkdir(path, { recursive: true });
    if (made !== undefined) await giveToCaller(path, streams.env);
  } catch (thrown) {
    throw systemError(thrown, `cannot make the folder ${path}`, 'choose another destination');
  }
}

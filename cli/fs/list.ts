/** `nexus fs ls`, `tree`, `stat`, `du` */
import { command } from '../runner/command.js';
import { formatAge, formatBytes } from '../terminal/format.js';
import { expectEntry, listFolder, walkFolder } from './entries.js';
import { count } from '../terminal/format.js';
import type { FsEntry } from '../../shared/gen/nexus/v1/fs.js';
import { parseInteger } from '../runner/arguments.js';
import { facts, table, visible, widthOf } from '../terminal/output.js';
import { entryShape, plainShape } from '../runner/shapes.js';

/** Deeper trees can't be made: every level takes two bytes of a path at least. */
const MAX_DEPTH = 2048;

const PATH = { path: { description: 'absolute path (default /)', completes: 'entry', optional: true } } as const;

/** The status has a column where it says something. */
function entryTable(entries: readonly FsEntry[], width: number): string {
  const isMarked = entries.some((entry) => !isReady(entry));
  return table(
    [
      { title: 'TYPE', leaveOut: 2 },
      { title: 'SIZE', right: true },
      { title: 'AGE', leaveOut: 1, right: true },
      ...(isMarked ? [{ title: 'STATUS' }] : []),
      { title: 'NAME', least: 30, flexible: 'anywhere' },
    ],
    entries.map((entry) => [
      entry.type,
      entry.type === 'file' ? formatBytes(Number(entry.size)) : '-',
      formatAge(entry.modifiedAt),
      ...(isMarked ? [isReady(entry) ? '' : entry.status] : []),
      entry.type === 'folder' ? `${entry.name}/` : entry.name,
    ]),
    width,
  );
}

export const list = command({
  summary: 'what is in a folder',
  positionals: PATH,
  flags: {},
  examples: [
    ['nexus fs ls', 'the topmost folder'],
    ['nexus fs ls /photos -o json', 'for scripts'],
  ],
  run: async (input, context) => {
    const entries = await listFolder(await context.connect(), input.path ?? '/');
    await context.print(entries.map(entryShape), () =>
      entries.length === 0 ? `${input.path ?? '/'} is empty` : entryTable(entries, widthOf(context.streams.stdout)),
    );
    return 0;
  },
});

export const tree = command({
  summary: 'a folder and everything below it',
  positionals: PATH,
  flags: { depth: { type: 'string', hint: 'N', description: 'number of levels to show', field: 'max_depth' } },
  examples: [
    ['nexus fs tree', 'everything'],
    ['nexus fs tree /photos --depth 1', 'the folder and what is in it'],
  ],
  run: async (input, context) => {
    const maxDepth = input.depth === undefined ? 0 : parseInteger(input.depth, 'depth', 1, MAX_DEPTH);
    const controller = await context.connect();
    const { entry } = await controller.call(controller.fs, controller.fs.statEntry, { path: input.path ?? '/' });
    const root = expectEntry(entry);
    const entries: FsEntry[] = [];
    for await (const found of walkFolder(controller, root.path, maxDepth)) entries.push(found);
    context.throwIfInterrupted();
    await context.print(entries.map(entryShape), () => treeText(root.path, entries));
    return 0;
  },
});

export const stat = command({
  summary: 'facts about one file or folder',
  positionals: { path: { description: 'absolute path', completes: 'entry' } },
  flags: {},
  examples: [['nexus fs stat /photos/a.jpg', 'size, times, and the file that holds its chunks']],
  run: async (input, context) => {
    const controller = await context.connect();
    const { entry } = await controller.call(controller.fs, controller.fs.statEntry, { path: input.path });
    const found = expectEntry(entry);
    await context.print(entryShape(found), () =>
      facts(
        [
          ['path', found.path],
          ['type', found.type],
          ...(found.type === 'file'
            ? ([
                ['size', `${formatBytes(Number(found.size))} (${found.size} bytes)`],
                ['status', found.status],
                ['file', `${found.fileId}  (see nexus file where ${found.fileId})`],
              ] as const)
            : []),
          ['created', found.createdAt],
          ['modified', found.modifiedAt],
        ],
        widthOf(context.streams.stdout),
      ),
    );
    return 0;
  },
});

export const usage = command({
  summary: 'how much is below a path',
  positionals: PATH,
  flags: {},
  examples: [['nexus fs du /photos', 'bytes, files and folders']],
  run: async (input, context) => {
    const controller = await context.connect();
    const { fs } = controller;
    const sums = await controller.call(fs, fs.getFolderUsage, { path: input.path ?? '/' });
    await context.print(
      plainShape(sums),
      () =>
        `${formatBytes(Number(sums.bytes))}  in ${count(Number(sums.files), 'file')} and ${count(Number(sums.folders), 'folder')} below ${visible(sums.path)}`,
    );
    return 0;
  },
});

/** A folder and what is below it, drawn as a tree. `entries` in any order in which a folder comes before what is in it; `root` is the path they are below. */
function treeText(root: string, entries: readonly FsEntry[]): string {
  const children = new Map<string, FsEntry[]>();
  for (const entry of entries) {
    const parent = entry.path.slice(0, entry.path.lastIndexOf('/')) || '/';
    children.set(parent, [...(children.get(parent) ?? []), entry]);
  }
  const lines = [visible(root)];
  const draw = (folder: string, indent: string): void => {
    const below = children.get(folder) ?? [];
    below.forEach((entry, at) => {
      const isLast = at === below.length - 1;
      lines.push(`${indent}${isLast ? '└── ' : '├── '}${label(entry)}`);
      if (entry.type === 'folder') draw(entry.path, `${indent}${isLast ? '    ' : '│   '}`);
    });
  };
  draw(root, '');
  const files = entries.filter((entry) => entry.type === 'file').length;
  return [...lines, '', `${count(entries.length - files, 'folder')}, ${count(files, 'file')}`].join('\n');
}

const label = (entry: FsEntry): string =>
  entry.type === 'folder'
    ? `${visible(entry.name)}/`
    : `${visible(entry.name)}  ${formatBytes(Number(entry.size))}${statusMark(entry)}`;

/** Behind a file whose bytes can't all be read. */
const statusMark = (entry: FsEntry): string => (isReady(entry) ? '' : `  (${entry.status})`);

/** Folders have no status, and a gateway of an earlier version tells none. */
const isReady = ({ status }: FsEntry): boolean => status === 'ready' || status === '';

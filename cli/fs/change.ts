/** `nexus fs mkdir`, `mv`, `rm` */
import { command } from '../runner/command.js';
import { SLOW_DEADLINE_MS } from '../connect/connection.js';
import { formatBytes } from '../terminal/format.js';
import { assertUtf8, childPath, expectEntry, findEntry } from './entries.js';
import { count } from '../terminal/format.js';
import { visible } from '../terminal/output.js';
import { throwFailures, tryEach } from '../runner/several.js';
import { entryShape, plainShape } from '../runner/shapes.js';

export const makeFolder = command({
  summary: 'make folders',
  positionals: { path: { description: 'absolute paths', completes: 'entry', many: true } },
  flags: {
    parents: {
      type: 'boolean',
      short: 'p',
      description: 'make missing parents; no error if the folder exists',
    },
  },
  examples: [
    ['nexus fs mkdir /photos', 'one folder'],
    ['nexus fs mkdir -p /photos/2026/summer', 'and those above it'],
  ],
  run: async (input, context) => {
    const controller = await context.connect();
    const { fs } = controller;
    const outcome = await tryEach(input.path, async (path) => {
      assertUtf8(path, 'PATH');
      return await controller.call(fs, fs.makeFolder, { path, parents: input.parents });
    });
    const made = outcome.done.map(({ entry }) => expectEntry(entry));
    await context.print(made.map(entryShape), () => made.map(({ path }) => `folder ${visible(path)}`).join('\n'));
    throwFailures(outcome);
    return 0;
  },
});

export const move = command({
  summary: 'move or rename a file or folder',
  details: 'If the new path is an existing folder, moves into it. Moving a folder is one step, whatever its size.',
  positionals: {
    from: { description: 'absolute path of what is moved', completes: 'entry' },
    to: { description: 'its new path, or the folder to put it into', completes: 'entry' },
  },
  flags: { overwrite: { type: 'boolean', description: 'replace an existing file' } },
  examples: [
    ['nexus fs mv /a.txt /b.txt', 'rename'],
    ['nexus fs mv /a.txt /photos', 'into a folder'],
  ],
  run: async (input, context) => {
    assertUtf8(input.to, 'TO');
    const controller = await context.connect();
    const { fs } = controller;
    const found = await findEntry(controller, input.to);
    const source = expectEntry((await controller.call(fs, fs.statEntry, { path: input.from })).entry);
    // Itself under another spelling is the controller's to judge, not a folder to go into.
    const isInto = found?.type === 'folder' && found.path !== source.path;
    const to = isInto ? childPath(found.path, source.name) : input.to;
    const { entry } = await controller.call(fs, fs.moveEntry, { from: input.from, to, overwrite: input.overwrite });
    const moved = expectEntry(entry);
    await context.print(entryShape(moved), () => `${visible(source.path)} is now ${visible(moved.path)}`);
    return 0;
  },
});

export const remove = command({
  summary: 'remove files and folders',
  positionals: { path: { description: 'absolute paths', completes: 'entry', many: true } },
  flags: { recursive: { type: 'boolean', short: 'r', description: 'folders with everything in them' } },
  examples: [
    ['nexus fs rm /a.txt /b.txt', 'two files'],
    ['nexus fs rm -r /photos', 'a folder and all below it'],
  ],
  run: async (input, context) => {
    const controller = await context.connect();
    const outcome = await tryEach(input.path, async (path) => ({
      path,
      ...(await controller.call(
        controller.fs,
        controller.fs.removeEntry,
        { path, recursive: input.recursive },
        SLOW_DEADLINE_MS,
      )),
    }));
    await context.print(outcome.done.map(plainShape), () =>
      outcome.done
        .map(
          ({ path, files, folders, bytes }) =>
            `removed ${visible(path)}  ${count(Number(files), 'file')}, ${count(Number(folders), 'folder')}, ${formatBytes(Number(bytes))}`,
        )
        .join('\n'),
    );
    throwFailures(outcome);
    return 0;
  },
});

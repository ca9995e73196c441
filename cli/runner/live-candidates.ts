/**
 * Finds candidates in the running cluster. The user has pressed Tab and waits: on any failure, after the deadline, or
 * if a password is needed, there are no candidates and no message.
 */
import type { AskedOf } from './complete.js';
import type { Controller } from '../connect/connection.js';
import type { Context } from './context.js';
import { formatBytes } from '../terminal/format.js';
import { visible } from '../terminal/visible.js';

const DEADLINE_MS = 2000;
/** More than anybody would read. */
const MOST = 200;

/** Returns lines of a word, a tab, and its meaning. */
export async function liveCandidates(
  context: Context,
  kind: Exclude<AskedOf, 'local'>,
  typed: string,
): Promise<readonly string[]> {
  try {
    if (context.target().needsRoot) return [];
    const found = await ASK[kind](await context.connect(), typed);
    return found.filter((line) => line.startsWith(typed) || line.startsWith(':')).slice(0, MOST);
  } catch {
    return [];
  }
}

type Ask = (controller: Controller, typed: string) => Promise<string[]>;

const ASK: Readonly<Record<Exclude<AskedOf, 'local'>, Ask>> = {
  node: async ({ call, node }) => {
    const { nodes } = await call(node, node.listNodes, {}, DEADLINE_MS);
    return nodes.map(({ name, status, ip }) => line(name, `${status} ${ip}`));
  },
  file: async ({ call, file }) => {
    const { files } = await call(file, file.listFiles, { pageSize: MOST, pageToken: '', statuses: [] }, DEADLINE_MS);
    return files.map(({ id, name, size }) => line(id, `${name} ${formatBytes(Number(size))}`));
  },
  image: async ({ call, image }) => {
    const { images } = await call(image, image.listImages, {}, DEADLINE_MS);
    return images.map(({ name, os }) => line(name, os));
  },
  entry: async ({ call, fs }, typed) => {
    const folder = typed.slice(0, typed.lastIndexOf('/') + 1) || '/';
    const { entries } = await call(fs, fs.listFolder, { path: folder, pageSize: MOST, pageToken: '' }, DEADLINE_MS);
    const isFolder = (type: string): boolean => type === 'folder';
    const lines = entries.map(({ name, type }) => line(`${folder}${name}${isFolder(type) ? '/' : ''}`, type));
    return entries.some(({ type }) => isFolder(type)) ? [...lines, ':open'] : lines;
  },
};

/** A word with a line break or a tab in it can't be typed anyway. */
const line = (word: string, meaning: string): string => `${visible(word)}\t${visible(meaning)}`;

/** A folder and what is below it, drawn as a tree. Pure. */
import type { FsEntry } from '../../shared/gen/nexus/v1/fs.js';
import { count, formatBytes } from '../terminal/format.js';
import { visible } from '../terminal/output.js';

/** `entries` in any order in which a folder comes before what is in it; `root` is the path they are below. */
export function treeText(root: string, entries: readonly FsEntry[]): string {
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
export const isReady = ({ status }: FsEntry): boolean => status === 'ready' || status === '';

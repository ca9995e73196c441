/** Building blocks of the command tree; apart from the tree, so that a command may be given it. */
import type { AnyCommand } from './command.js';

export interface Leaf {
  readonly summary: string;
  /** For programs: it can be typed, but is neither listed nor offered. */
  readonly isInternal?: true;
  load(): Promise<AnyCommand>;
}
export interface Group {
  readonly summary: string;
  readonly children: Readonly<Record<string, Leaf | Group>>;
}

/** The children that are shown to people. */
export const listed = (group: Group): [word: string, entry: Leaf | Group][] =>
  Object.entries(group.children).filter(([, entry]) => isGroup(entry) || entry.isInternal !== true);

export const isGroup = (entry: Leaf | Group): entry is Group => 'children' in entry;

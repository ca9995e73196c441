/** What the tree of commands is made of; apart from the tree, so that a command may be given it. */
import type { AnyCommand } from './command.js';

export interface Leaf {
  readonly summary: string;
  load(): Promise<AnyCommand>;
}
export interface Group {
  readonly summary: string;
  readonly children: Readonly<Record<string, Leaf | Group>>;
}

export const isGroup = (entry: Leaf | Group): entry is Group => 'children' in entry;

/** A simple tree in memory, with the same rules as the stores': what they are compared with. */
import type { Names } from '../../controller/store/port/fs.js';

export interface ModelFile {
  readonly type: 'file';
  size: number;
}
export interface ModelFolder {
  readonly type: 'folder';
  readonly entries: Map<string, ModelEntry>;
}
export type ModelEntry = ModelFile | ModelFolder;

export const newFolder = (): ModelFolder => ({ type: 'folder', entries: new Map() });

/** What a change does to the tree, or the code that it is refused with. */
export type Outcome = 'done' | 'not_found' | 'already_exists' | 'failed_precondition';

export class ModelTree {
  readonly root = newFolder();

  /** Undefined: a part is missing; null: a part on the way is a file. */
  at(path: Names): ModelEntry | undefined | null {
    let entry: ModelEntry = this.root;
    for (const name of path) {
      if (entry.type === 'file') return null;
      const next = entry.entries.get(name);
      if (next === undefined) return undefined;
      entry = next;
    }
    return entry;
  }

  makeFolder(path: Names, parents: boolean): Outcome {
    const there = this.at(path);
    if (there === null) return 'failed_precondition';
    if (there !== undefined) return parents && there.type === 'folder' ? 'done' : 'already_exists';
    if (!parents) {
      const parent = this.#parent(path);
      if (typeof parent === 'string') return parent;
      parent.entries.set(path.at(-1)!, newFolder());
      return 'done';
    }
    let folder = this.root;
    for (const name of path) {
      const next = folder.entries.get(name) ?? newFolder();
      folder.entries.set(name, next);
      if (next.type === 'file') throw new Error('looked at before');
      folder = next;
    }
    return 'done';
  }

  store(path: Names, size: number, overwrite: boolean): Outcome {
    const there = this.at(path);
    if (there === null) return 'failed_precondition';
    const parent = this.#parent(path);
    if (typeof parent === 'string') return parent;
    if (there?.type === 'folder') return 'failed_precondition';
    if (there !== undefined && !overwrite) return 'already_exists';
    parent.entries.set(path.at(-1)!, { type: 'file', size });
    return 'done';
  }

  move(from: Names, to: Names, overwrite: boolean): Outcome {
    const source = this.at(from);
    if (source === null) return 'failed_precondition';
    if (source === undefined) return 'not_found';
    if (from.every((name, at) => to[at] === name)) {
      // Onto itself, into itself; below a file there is nothing.
      return 'failed_precondition';
    }
    const target = this.at(to);
    if (target === null) return 'failed_precondition';
    if (target?.type === 'folder' && (source.type === 'file' || target.entries.size > 0)) return 'failed_precondition';
    if (target?.type === 'file' && source.type === 'folder') return 'failed_precondition';
    if (target?.type === 'file' && !overwrite) return 'already_exists';
    const parent = this.#parent(to);
    if (typeof parent === 'string') return parent;
    (this.at(from.slice(0, -1)) as ModelFolder).entries.delete(from.at(-1)!);
    parent.entries.set(to.at(-1)!, source);
    return 'done';
  }

  remove(path: Names, recursive: boolean): Outcome {
    const there = this.at(path);
    if (there === null) return 'failed_precondition';
    if (there === undefined) return 'not_found';
    if (there.type === 'folder' && there.entries.size > 0 && !recursive) return 'failed_precondition';
    (this.at(path.slice(0, -1)) as ModelFolder).entries.delete(path.at(-1)!);
    return 'done';
  }

  /** Every path with its type and size, in order. */
  lines(folder: ModelFolder = this.root, path = ''): string[] {
    return [...folder.entries]
      .sort(([a], [b]) => Buffer.compare(Buffer.from(a), Buffer.from(b)))
      .flatMap(([name, entry]) =>
        entry.type === 'file'
          ? [`${path}/${name} ${entry.size}`]
          : [`${path}/${name}/`, ...this.lines(entry, `${path}/${name}`)],
      );
  }

  bytes(folder: ModelFolder = this.root): number {
    return [...folder.entries.values()].reduce(
      (sum, entry) => sum + (entry.type === 'file' ? entry.size : this.bytes(entry)),
      0,
    );
  }

  #parent(path: Names): ModelFolder | Outcome {
    const parent = this.at(path.slice(0, -1));
    if (parent === null || parent?.type === 'file') return 'failed_precondition';
    return parent ?? 'not_found';
  }
}

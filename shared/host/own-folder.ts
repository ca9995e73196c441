/**
 * The run folder of a user who is not root. Without XDG_RUNTIME_DIR it lies in /tmp, where every user of the host can
 * make a folder of that name first: the admin socket in it, which asks for no token, would then be theirs to replace.
 */
import { lstatSync, type Stats } from 'node:fs';
import { dirname } from 'node:path';
import { NexusError } from '../errors.js';

const ROOT = 0;
const BY_ALL = 0o002;
const BY_GROUP_OR_ALL = 0o022;
const STICKY = 0o1000;

/**
 * Refuses a run folder that another user of the host made or may write to, and one below such a folder. Folders that
 * are missing pass: call it again after making them. Root passes, whose folders are in /run. Code: failed_precondition.
 */
export function assertOwnRunFolder(runDir: string, uid = process.getuid?.() ?? ROOT): void {
  if (uid === ROOT) return;
  for (const path of [...parentsOf(runDir), runDir]) {
    const found = lstatSync(path, { throwIfNoEntry: false });
    if (found === undefined) return;
    // Elsewhere the owner of the parent decides what is in it, who passed the same check or is the host's root.
    if (path !== runDir && !isOpenToAll(dirname(path))) continue;
    // In a folder like /tmp itself nobody can replace what is another's, and what is in it is looked at next.
    if (path !== runDir && found.isDirectory() && (found.mode & STICKY) !== 0 && ownedBy(found, uid)) continue;
    const problem = problemOf(found, uid);
    if (problem === undefined) continue;
    throw new NexusError(
      'failed_precondition',
      `the run folder ${runDir} is not safe: ${path} ${problem}, so that another user could act as this cluster; remove ${path}, or set XDG_RUNTIME_DIR or run-dir (NEXUS_RUN_DIR) to a folder of your own`,
      { folder: path },
    );
  }
}

/** From the first below the root on. */
function parentsOf(path: string): string[] {
  const parent = dirname(path);
  return parent === path || parent === '/' ? [] : [...parentsOf(parent), parent];
}

const isOpenToAll = (path: string): boolean => {
  const found = lstatSync(path, { throwIfNoEntry: false });
  return found?.isDirectory() === true && (found.mode & BY_ALL) !== 0;
};

const ownedBy = (found: Stats, uid: number): boolean => found.uid === uid || found.uid === ROOT;

/** Root's folders pass: commands of a user who may open the socket of root's cluster come here, too. */
function problemOf(found: Stats, uid: number): string | undefined {
  if (!ownedBy(found, uid)) return `belongs to user ${found.uid}, not to you (${uid})`;
  if (!found.isDirectory()) return `is ${found.isSymbolicLink() ? 'a link' : 'no folder'} (of user ${found.uid})`;
  if ((found.mode & BY_GROUP_OR_ALL) !== 0)
    return `(of user ${found.uid}) may be written to by others, mode ${(found.mode & 0o7777).toString(8)}`;
  return undefined;
}

/**
 * Notes of the spares on this host, <state>/spares/<id>.json: written before anything of a spare is made, and removed
 * once it is a node of the store, or nothing of it is left. So the next controller finds what one that was killed has
 * left. They are not in the store, because a spare is nothing but things on this host.
 */
import { mkdir, readdir, readFile, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { z } from 'zod';
import type { Settings } from '../../../shared/config/settings.js';
import { isNodeId, type NodeId } from '../../../shared/ids.js';
import { writeSecret } from '../../host/secret-file.js';
import type { NodeRecord } from '../../store/port/store.js';

/** What it takes to remove a spare. */
const LEAST = z.looseObject({ id: z.string(), hosting: z.looseObject({ kind: z.string(), slot: z.int() }) });

type Folder = Pick<Settings, 'stateDir'>;

const folderOf = ({ stateDir }: Folder): string => join(stateDir, 'spares');
const noteOf = (settings: Folder, id: NodeId): string => join(folderOf(settings), `${id}.json`);

export async function writeNote(settings: Folder, spare: NodeRecord): Promise<void> {
  await mkdir(folderOf(settings), { recursive: true, mode: 0o700 });
  await writeSecret(noteOf(settings, spare.id), JSON.stringify(spare));
}

/** Succeeds if there is none. */
export const removeNote = (settings: Folder, id: NodeId): Promise<void> => rm(noteOf(settings, id), { force: true });

/** `onBroken` is told of what cannot be read; the others are no worse for it. */
export async function readNotes(
  settings: Folder,
  onBroken: (path: string, error: unknown) => void,
): Promise<readonly NodeRecord[]> {
  const names = await readdir(folderOf(settings)).catch((error: unknown) => {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return [];
    throw error;
  });
  const notes: NodeRecord[] = [];
  for (const id of names.filter((name) => name.endsWith('.json')).map((name) => name.slice(0, -'.json'.length))) {
    if (!isNodeId(id)) continue;
    const path = noteOf(settings, id);
    try {
      const note: unknown = JSON.parse(await readFile(path, 'utf8'));
      LEAST.parse(note);
      notes.push(note as NodeRecord);
    } catch (error) {
      onBroken(path, error);
    }
  }
  return notes;
}

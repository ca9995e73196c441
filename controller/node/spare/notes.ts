/**
 * Notes of the spares on this host, <state>/spares/<id>.json: written before anything of a spare is made, and removed
 * once it is a node of the store, or nothing of it is left. So the next controller finds what one that was killed has
 * left. They are not in the store, because a spare is nothing but things on this host.
 */
import { mkdir, readdir, readFile, rm } from 'node:fs/promises';
import { join } from 'node:path';
import type { Settings } from '../../../shared/config/settings.js';
import { isNodeId, type NodeId } from '../../../shared/ids.js';
import { writeSecret } from '../../host/secret-file.js';
import type { NodeRecord } from '../../store/port/store.js';

type Folder = Pick<Settings, 'stateDir'>;

const folderOf = ({ stateDir }: Folder): string => join(stateDir, 'spares');
const noteOf = (settings: Folder, id: NodeId): string => join(folderOf(settings), `${id}.json`);

export async function writeNote(settings: Folder, spare: NodeRecord): Promise<void> {
  await mkdir(folderOf(settings), { recursive: true, mode: 0o700 });
  await writeSecret(noteOf(settings, spare.id), JSON.stringify(spare));
}

/** Succeeds if there is none. */
export const removeNote = (settings: Folder, id: NodeId): Promise<void> => rm(noteOf(settings, id), { force: true });

export async function readNotes(settings: Folder): Promise<readonly NodeRecord[]> {
  const names = await readdir(folderOf(settings)).catch((error: unknown) => {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return [];
    throw error;
  });
  const notes = names.filter((name) => name.endsWith('.json') && isNodeId(name.slice(0, -'.json'.length)));
  return await Promise.all(
    notes.map(async (name) => JSON.parse(await readFile(join(folderOf(settings), name), 'utf8')) as NodeRecord),
  );
}

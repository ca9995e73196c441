/** Volume cards: each describes a volume's node in a small file beside the volume, <volumes>/<id>.json. */
import { readdir, readFile, rename, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { isNodeId, type NodeId } from '../../shared/ids.js';

const SUFFIX = '.json';

const cardPath = (folder: string, node: NodeId): string => join(folder, `${node}${SUFFIX}`);

/** Replaces the card atomically: a reader gets the old one or the new one. */
export async function writeCard(folder: string, node: NodeId, card: string): Promise<void> {
  const path = cardPath(folder, node);
  try {
    await writeFile(`${path}.new`, card, { mode: 0o600, flush: true });
    await rename(`${path}.new`, path);
  } catch (error) {
    // A full disk may have truncated the new file. Report the first error, even if a failing disk keeps the file.
    await rm(`${path}.new`, { force: true }).catch(() => undefined);
    throw error;
  }
}

export async function removeCard(folder: string, node: NodeId): Promise<void> {
  for (const suffix of ['', '.new']) await rm(`${cardPath(folder, node)}${suffix}`, { force: true });
}

/** In order of id. */
export async function readCards(folder: string): Promise<{ nodeId: NodeId; card: string }[]> {
  const names = await readdir(folder).catch(() => []);
  const ids = names.filter((name) => name.endsWith(SUFFIX)).map((name) => name.slice(0, -SUFFIX.length));
  const cards: { nodeId: NodeId; card: string }[] = [];
  for (const nodeId of ids.filter(isNodeId).sort()) {
    const card = await readFile(cardPath(folder, nodeId), 'utf8').catch(() => undefined);
    // Removed since it was listed.
    if (card !== undefined) cards.push({ nodeId, card });
  }
  return cards;
}

/** Files over the nodes' own volumes. */
import { randomBytes } from 'node:crypto';
import { readFileSync, writeFileSync } from 'node:fs';
import { expect } from 'chai';
import { CHUNK_SIZE_BYTES } from '../../../shared/limits.js';
import type { Guest } from './guest.js';

const SOURCE = '/tmp/source';
const COPY = '/tmp/copy';

export async function fetchWhatWasSent(guest: Guest): Promise<void> {
  writeFileSync(SOURCE, randomBytes(2 * CHUNK_SIZE_BYTES + 12_345));
  const { id } = await guest.json<{ id: string; chunks_count: number }>('file', 'upload', SOURCE);
  guest.kept.set('file', id);
  await compareWithSource(guest);
}

/** Fetches the file anew. */
export async function compareWithSource(guest: Guest): Promise<void> {
  await guest.ok('file', 'download', guest.kept.get('file') ?? '', COPY);
  expect(readFileSync(COPY).equals(readFileSync(SOURCE)), 'the copy is as the source').to.equal(true);
}

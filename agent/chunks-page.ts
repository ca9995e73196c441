/**
 * A page of what the volume holds, in order of id. Names and owners are left out: this page asks nobody who they are, and
 * an id alone opens no chunk.
 */
import { NexusError } from '../shared/errors.js';
import type { ListedChunk } from './chunk/inventory.js';

const USUAL = 100;
/** Each costs the reading of a small file. */
const MOST = 1000;

type ListChunks = (after: string, limit: number) => Promise<readonly ListedChunk[]>;

/** Field names are a promise to scripts. `next` is what `after` has to be for the next page, null on the last one. */
export async function chunksPage(list: ListChunks, query: URLSearchParams): Promise<string> {
  const unknown = [...query.keys()].find((name) => name !== 'after' && name !== 'limit');
  if (unknown !== undefined)
    throw new NexusError('invalid_argument', `"${unknown}" means nothing; give after or limit`);
  const limit = limitOf(query.get('limit'));
  const chunks = await list(query.get('after') ?? '', limit);
  return JSON.stringify({
    chunks: chunks.map(({ chunk, size, md5, of, damage }) => ({
      chunk_id: chunk,
      size,
      md5,
      file_id: of?.file ?? null,
      index: of?.index ?? null,
      ...(damage === undefined ? {} : { damage }),
    })),
    next: chunks.length < limit ? null : (chunks.at(-1)?.chunk ?? null),
  });
}

function limitOf(text: string | null): number {
  if (text === null) return USUAL;
  const limit = Number(text);
  if (/^\d+$/.test(text) && limit >= 1 && limit <= MOST) return limit;
  throw new NexusError('invalid_argument', `limit can't be "${text}"; give a whole number from 1 to ${MOST}`);
}

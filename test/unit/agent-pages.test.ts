import { expect } from 'chai';
import { chunksPage } from '../../agent/status-pages.js';
import { inspectionText, parseInspection } from '../../cli/node/agent-text.js';
import type { ChunkId } from '../../shared/ids.js';
import { codeOf } from '../support/codes.js';

const ID = 'ab'.repeat(16) as ChunkId;
const MD5 = 'cd'.repeat(16);
const ORIGIN = { file: 'f1', index: 2, name: 'secret.txt', owner: 'eve', replicas: 1, expected: 0, created: 0 };

const page = async (query: string): Promise<{ chunks: object[]; next: string | null }> => {
  const list = (
    after: string,
    limit: number,
  ): Promise<{ chunk: ChunkId; size: number; md5: string; written_at: string; of: typeof ORIGIN }[]> =>
    Promise.resolve(after < ID && limit > 0 ? [{ chunk: ID, size: 7, md5: MD5, written_at: '', of: ORIGIN }] : []);
  return JSON.parse(await chunksPage(list, new URLSearchParams(query))) as { chunks: object[]; next: string | null };
};

describe('the pages of one agent', () => {
  it('list chunks without the names and owners of files', async () => {
    const { chunks, next } = await page('');
    expect(chunks).to.deep.equal([{ chunk_id: ID, size: 7, md5: MD5, file_id: 'f1', index: 2 }]);
    expect(next).to.equal(null);
  });

  it('tell where the next page begins, until there is none', async () => {
    expect((await page('limit=1')).next).to.equal(ID);
    expect(await page(`limit=1&after=${ID}`)).to.deep.equal({ chunks: [], next: null });
  });

  for (const query of ['limit=0', 'limit=1001', 'limit=1e3', 'limit=-1', 'limit=', 'first=3']) {
    it(`refuse ?${query}`, async () => {
      expect(await codeOf(() => page(query))).to.equal('invalid_argument');
    });
  }

  it('are shown as far as they tell something: an older agent leaves fields out', () => {
    const found = parseInspection('{"node":"web-1","version":"0.0.9","chunks":{"count":3}}');
    expect(inspectionText(found, 80))
      .to.match(/version 0\.0\.9/)
      .and.match(/chunks: +3, 0 B/)
      .and.match(/no commands yet/);
  });

  it('keep fields of a newer agent', () => {
    expect(parseInspection('{"node":"web-1","flux":{"capacity":88}}')).to.deep.include({ flux: { capacity: 88 } });
  });

  it('are refused when they are no JSON', () => {
    expect(() => parseInspection('<html>')).to.throw(/not an inspection/);
  });
});

/** Files that change while they are read: what is read of them is never taken for a whole file. */
import { existsSync } from 'node:fs';
import { appendFile, mkdtemp, open, readFile, rm, truncate, utimes, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect } from 'chai';
import { fileSource, piecesOf } from '../../shared/transfer/source.js';
import { errorOf } from '../support/codes.js';

const SIZE = 100_000;
const PART = Buffer.alloc(40_000);

describe('the source of an upload', () => {
  let folder: string;
  let path: string;

  beforeEach(async () => {
    folder = await mkdtemp(join(tmpdir(), 'nexus-source-'));
    path = join(folder, 'data');
    await writeFile(path, Buffer.alloc(SIZE, 1));
  });
  afterEach(() => rm(folder, { recursive: true }));

  /** Reads all of it; `meanwhile` happens after the first part. */
  async function read(meanwhile: () => Promise<unknown>, of = path): Promise<number> {
    const file = await open(of, 'r');
    try {
      const source = fileSource(file, of);
      let total = await source.fill(PART);
      await meanwhile();
      for (let size = PART.length; size === PART.length; total += size) size = await source.fill(PART);
      return total;
    } finally {
      await file.close();
    }
  }

  it('is read whole when nobody writes to it', async () => {
    expect(await read(() => Promise.resolve())).to.equal(SIZE);
  });

  for (const [change, act, says] of [
    ['shrinks', () => truncate(path, 50_000), /had 100000 bytes when it was opened and then 50000/],
    ['grows', () => appendFile(path, 'more'), /it grew beyond 100000 bytes/],
    ['is emptied', () => truncate(path, 0), /had 100000 bytes when it was opened and then 0/],
    ['is overwritten with as many bytes', () => writeFile(path, Buffer.alloc(SIZE, 2)), /was written to/],
    [
      'is overwritten, and its time of change set back',
      async () => {
        const past = new Date(2000, 1, 1);
        await writeFile(path, Buffer.alloc(SIZE, 2));
        await utimes(path, past, past);
      },
      /was written to/,
    ],
  ] as const) {
    it(`is refused when it ${change}`, async () => {
      const error = await errorOf(() => read(act));
      expect(error).to.include({ code: 'failed_precondition' });
      expect(error.message)
        .to.match(/the file changed while it was read/)
        .and.match(says);
    });
  }

  it('is refused when it was empty and is not any more', async () => {
    await truncate(path, 0);
    const file = await open(path, 'r');
    const source = fileSource(file, path);
    await appendFile(path, 'x');
    expect(await errorOf(() => source.fill(PART))).to.include({ code: 'failed_precondition' });
    await file.close();
  });

  it('may be a file of the kernel, which has no size to compare', async () => {
    expect(await read(() => Promise.resolve(), '/proc/self/status')).to.be.greaterThan(0);
  });

  it('is not said to have changed where it is of the kernel and its size is untrue', async () => {
    for (const of of ['/sys/kernel/mm/transparent_hugepage/enabled', '/sys/devices/system/cpu/online']) {
      if (!existsSync(of)) continue;
      const { length } = await readFile(of);
      const error = await errorOf(() => read(() => Promise.resolve(), of));
      expect(error).to.include({ code: 'failed_precondition' });
      expect(error.message)
        .to.match(new RegExp(`^${of}: the system reports \\d+ bytes, and ${length} could be read`))
        .and.include(`cat ${of} | nexus ... -`);
    }
  });

  it('is the same as a stream of pieces, which ends with the error', async () => {
    const file = await open(path, 'r');
    const sizes: number[] = [];
    const error = await errorOf(async () => {
      for await (const piece of piecesOf(fileSource(file, path), 30_000)) {
        sizes.push(piece.length);
        if (sizes.length === 2) await truncate(path, 70_000);
      }
    });
    expect(error.message).to.match(/changed while it was read/);
    expect(sizes).to.deep.equal([30_000, 30_000]);
    await file.close();
  });
});

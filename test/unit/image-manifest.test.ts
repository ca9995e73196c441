/** One image's record that makes no sense says so of that image alone. */
import { expect } from 'chai';
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { FolderImages } from '../../controller/image/folder-images.js';

describe('the images of a folder', () => {
  let folder: string;
  let images: FolderImages;
  beforeEach(() => {
    folder = mkdtempSync(join(tmpdir(), 'nexus-images-'));
    images = new FolderImages({ folder, cacheDir: folder, sharedDir: folder, buildScript: '' });
    add('good', JSON.stringify({ name: 'good', sizeBytes: 5, createdAt: 7, os: 'Debian' }));
  });
  afterEach(() => {
    rmSync(folder, { recursive: true });
  });
  const add = (name: string, manifest: string): void => {
    mkdirSync(join(folder, name, 'rootfs'), { recursive: true });
    writeFileSync(join(folder, name, 'image.json'), manifest);
  };

  for (const [what, manifest] of [
    ['half a record', '{'],
    ['a record without fields', '{"name":"bad"}'],
    ['no record at all', 'null'],
    ['a size below zero', '{"sizeBytes":-1,"createdAt":0,"os":""}'],
    ['a time that no date can be', '{"sizeBytes":1,"createdAt":9e15,"os":""}'],
    ['a text without end', JSON.stringify({ sizeBytes: 1, createdAt: 1, os: 'x'.repeat(100_000) })],
  ] as const) {
    it(`are listed, nodes start from them, and they can be removed, where one has ${what}`, async () => {
      add('bad', manifest);
      const [bad, good] = await images.list();
      expect(good).to.deep.include({ name: 'good', sizeBytes: 5, os: 'Debian' });
      expect(bad).to.include({ name: 'bad', sizeBytes: 0, createdAt: 0 });
      expect(bad?.problem).to.match(/image\.json is damaged; remove the image and import it again/);
      expect(await images.rootfsOf('bad')).to.equal(join(folder, 'bad', 'rootfs'));
      await images.remove('bad');
      expect((await images.list()).map(({ name }) => name)).to.deep.equal(['good']);
    });
  }
});

/** The tree of the prepared image that instances share by links, made by the host's tar and cp. */
import { expect } from 'chai';
import { execFileSync } from 'node:child_process';
import {
  existsSync,
  linkSync,
  lstatSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  symlinkSync,
  utimesSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { removeUnlinked, unpackShared } from '../../controller/image/unpacked-archive.js';
import { skipWithoutSystem } from '../support/system.js';

describe('a prepared image that instances share', () => {
  let folder: string;
  let shared: string;
  let archive: string;
  before(function () {
    skipWithoutSystem(this);
  });
  beforeEach(() => {
    folder = mkdtempSync(join(tmpdir(), 'nexus-shared-'));
    shared = join(folder, 'shared');
    archive = join(folder, 'base-image-test.tar');
    pack('first');
  });
  afterEach(() => {
    rmSync(folder, { recursive: true });
  });

  const pack = (content: string): void => {
    const tree = mkdtempSync(join(folder, 'tree-'));
    for (const name of ['bin', 'dev']) mkdirSync(join(tree, name));
    writeFileSync(join(tree, 'bin', 'su'), content, { mode: 0o4755 });
    execFileSync('chmod', ['4755', join(tree, 'bin', 'su')]);
    execFileSync('mknod', [join(tree, 'dev', 'zero'), 'c', '1', '5']);
    symlinkSync('su', join(tree, 'bin', 'link'));
    writeFileSync(join(tree, 'bin', 'a-pair'), '');
    linkSync(join(tree, 'bin', 'a-pair'), join(tree, 'bin', 'another'));
    execFileSync('chown', ['7:8', join(tree, 'bin')]);
    execFileSync('tar', ['-C', tree, '-cf', archive, '.']);
  };
  const instance = async (name: string, at = folder): Promise<{ root: string; leftOut: string }> => {
    const root = join(at, name);
    mkdirSync(root);
    return { root, leftOut: await unpackShared(archive, root, shared, new AbortController().signal) };
  };
  const inode = (root: string): number => statSync(join(root, 'bin', 'su')).ino;
  const isWhole = ({ root, leftOut }: { root: string; leftOut: string }, content = 'first'): void => {
    expect(readFileSync(join(root, 'bin', 'su'), 'utf8')).to.equal(content);
    expect(statSync(join(root, 'bin', 'su')).mode & 0o7777).to.equal(0o4755);
    expect(statSync(join(root, 'bin'))).to.include({ uid: 7, gid: 8 });
    expect(lstatSync(join(root, 'bin', 'link')).isSymbolicLink()).to.equal(true);
    expect(existsSync(join(root, 'dev', 'zero'))).to.equal(false);
    expect(leftOut).to.contain('1');
  };

  it('has the same files in each, and says of each what was left out', async () => {
    const one = await instance('one');
    const other = await instance('other');
    isWhole(one);
    isWhole(other);
    expect(other.leftOut).to.equal(one.leftOut);
    expect(inode(other.root)).to.equal(inode(one.root));
    expect(statSync(shared).mode & 0o777).to.equal(0o700);
    rmSync(one.root, { recursive: true });
    isWhole(other);
  });

  it('is unpacked once where two want it at once, or by both, and nothing half done stays', async () => {
    const both = await Promise.all([instance('one'), instance('other')]);
    for (const each of both) isWhole(each);
    expect(readdirSync(shared)).to.have.length(1);
  });

  it('is unpacked anew from another archive, and trees that nothing has used for a day go', async () => {
    const one = await instance('one');
    const [tree = ''] = readdirSync(shared);
    mkdirSync(join(shared, '.interrupted'));
    const dayAgo = Date.now() / 1000 - 25 * 60 * 60;
    for (const name of [tree, '.interrupted']) utimesSync(join(shared, name), dayAgo, dayAgo);
    pack('second');
    isWhole(await instance('other'), 'second');
    isWhole(one);
    expect(readdirSync(shared)).to.have.length(1).and.not.include(tree);
  });

  it('goes with the last instance that links its files', async () => {
    const one = await instance('one');
    const other = await instance('other');
    rmSync(one.root, { recursive: true });
    await removeUnlinked(shared);
    isWhole(other);
    expect(readdirSync(shared)).to.have.length(1);
    rmSync(other.root, { recursive: true });
    await removeUnlinked(shared);
    expect(existsSync(shared)).to.equal(false);
    await removeUnlinked(shared);
    isWhole(await instance('third'));
  });

  it('is each instance’s own on another file system, where nothing can be written, and where the tree is damaged', async () => {
    const elsewhere = mkdtempSync('/dev/shm/nexus-shared-');
    try {
      isWhole(await instance('one', elsewhere));
      expect(readdirSync(shared)).to.deep.equal([]);
    } finally {
      rmSync(elsewhere, { recursive: true });
    }
    isWhole(await instance('two'));
    const [tree = ''] = readdirSync(shared);
    rmSync(join(shared, tree, 'left-out'));
    isWhole(await instance('three'));
    expect(inode(join(folder, 'three'))).to.not.equal(inode(join(folder, 'two')));
    rmSync(shared, { recursive: true });
    writeFileSync(shared, '');
    isWhole(await instance('four'));
  });

  it('is not unpacked for a start that was given up, and what is wrong with the archive is told', async () => {
    const root = join(folder, 'root');
    mkdirSync(root);
    await unpackShared(archive, root, shared, AbortSignal.abort()).then(
      () => expect.fail('was unpacked'),
      (error: unknown) => expect((error as Error).name).to.match(/AbortError|NexusError/),
    );
    expect(readdirSync(root)).to.deep.equal([]);
    writeFileSync(archive, 'no archive '.repeat(1000));
    await unpackShared(archive, root, shared, new AbortController().signal).then(
      () => expect.fail('was unpacked'),
      (error: unknown) => expect(error).to.include({ code: 'invalid_argument' }),
    );
    expect(readdirSync(shared).filter((name) => name.startsWith('.'))).to.deep.equal([]);
  });
});

/** A folder with mounts in it, as of a state folder on a disk of its own, is emptied all the same. */
import { existsSync, mkdirSync, mkdtempSync, readdirSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect } from 'chai';
import { removeTree } from '../../controller/host/remove-tree.js';
import { runCommand, tryCommand } from '../../shared/exec.js';
import { skipWithoutSystem } from '../support/system.js';

describe('the removal of a folder', () => {
  let folder = '';
  beforeEach(() => {
    folder = mkdtempSync(join(tmpdir(), 'nexus-tree-'));
  });
  afterEach(() => {
    rmSync(folder, { recursive: true, force: true });
  });

  it('takes all of it, and nothing that a link in it leads to', async () => {
    writeFileSync(join(folder, 'outside'), '');
    mkdirSync(join(folder, 'state', 'logs'), { recursive: true });
    writeFileSync(join(folder, 'state', 'logs', 'a'), '');
    symlinkSync(folder, join(folder, 'state', 'link'));
    await removeTree(join(folder, 'state'));
    await removeTree(join(folder, 'state'));
    expect(readdirSync(folder)).to.deep.equal(['outside']);
  });

  it('empties what is mounted there, and goes on beside it', async function () {
    skipWithoutSystem(this);
    const state = join(folder, 'state');
    const volumes = join(state, 'volumes');
    try {
      for (const place of [state, volumes]) {
        mkdirSync(place);
        await runCommand('mount', ['-t', 'tmpfs', '-o', 'size=1m', 'nexus-test', place], { failure: 'no tmpfs' });
        mkdirSync(join(place, 'below'));
        writeFileSync(join(place, 'below', 'key.pem'), 'secret');
        writeFileSync(join(place, 'zz'), '');
      }
      await removeTree(state);
      expect(readdirSync(state)).to.deep.equal(['volumes']);
      expect(readdirSync(volumes)).to.deep.equal([]);
    } finally {
      for (const place of [volumes, state]) await tryCommand('umount', [place]);
    }
    expect(existsSync(state)).to.equal(true);
  });
});

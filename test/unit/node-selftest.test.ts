/** The programs of `nexus node selftest` tell what got through from what is no longer there. */
import { spawnSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect } from 'chai';
import { FILES } from '../../cli/node/selftest/files.js';

/**
 * A /sys that is read-only, in a folder. `name` of it is answered with `code`, and removed before if `isGone`: as a
 * device of another cluster between listing and opening.
 */
const scene = (folder: string, name: string, code: string, isGone: boolean): string => `
import errno, os
stat, walk = os.stat, os.walk
os.stat = lambda path, *more, **named: stat('/' if path == '/data/chunks' else path, *more, **named)
os.walk = lambda path: walk(${JSON.stringify(folder)})
def deny(path, *_, **__): raise OSError(errno.EROFS, path)
def open_(path, *_, **__):
    if not path.endswith('/${name}'): deny(path)
    if ${isGone ? 'True' : 'False'}: os.remove(path)
    raise OSError(errno.${code}, path)
os.open, os.mkdir, os.chown = open_, deny, deny
`;

describe('the attack on /sys of nexus node selftest', () => {
  let folder: string;
  beforeEach(() => {
    folder = mkdtempSync(join(tmpdir(), 'nexus-sys-'));
    mkdirSync(join(folder, 'block'));
    for (let index = 0; index < 60; index += 1) writeFileSync(join(folder, 'block', `file${index}`), '');
  });
  afterEach(() => {
    rmSync(folder, { recursive: true });
  });
  const attack = (code: string, isGone: boolean): unknown => {
    const [step] = FILES.find(({ name }) => name === '/sys')?.steps ?? [];
    if (step?.kind !== 'code') throw new Error('the attack has no program');
    const program = `${scene(folder, 'file7', code, isGone)}${step.code}`;
    const { stdout, stderr } = spawnSync('python3', ['-c', program, '{}'], { encoding: 'utf8', timeout: 60_000 });
    if (stdout === '') throw new Error(stderr);
    return JSON.parse(stdout);
  };

  for (const code of ['ENOENT', 'ENODEV']) {
    it(`leaves out a file that is gone when it is opened (${code})`, () => {
      expect(attack(code, true)).to.deep.equal({ held: 'EROFS for 61' });
    });

    it(`takes ${code} of a file that is there for no barrier`, () => {
      expect(attack(code, false)).to.deep.equal({ broke: `${join(folder, 'block', 'file7')}: ${code} is no barrier` });
    });
  }
});

/** The contract of the program by which an agent flushes its volume, see volume-sync.c. */
import { spawn, spawnSync, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { chmodSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { expect } from 'chai';
import { VolumeFlush } from '../../agent/volume/flush.js';
import { codeOf } from '../support/codes.js';
import { skipWithoutSystem } from '../support/system.js';

const PROGRAM = resolve('dist/volume-sync');

describe('the program that flushes a volume', function () {
  let folder = '';
  let running: ChildProcess | undefined;

  before(function () {
    skipWithoutSystem(this);
  });
  beforeEach(() => {
    folder = mkdtempSync(join(tmpdir(), 'nexus-sync-'));
  });
  afterEach(() => {
    running?.kill('SIGKILL');
    rmSync(folder, { recursive: true, force: true });
  });

  it('answers each byte by a line, and ends when its input does', async () => {
    const child = spawn(PROGRAM, [folder], { stdio: ['pipe', 'pipe', 'inherit'] });
    running = child;
    writeFileSync(join(folder, 'file'), 'content');
    child.stdin.end('...');
    const pieces: Buffer[] = [];
    child.stdout.on('data', (piece: Buffer) => pieces.push(piece));
    expect(await once(child, 'close')).to.deep.equal([0, null]);
    expect(Buffer.concat(pieces).toString()).to.equal('0\n0\n0\n');
  });

  it('says by its exit code why it can’t begin', () => {
    expect(spawnSync(PROGRAM, []).status).to.equal(64);
    expect(spawnSync(PROGRAM, [join(folder, 'missing')]).status).to.equal(66);
  });

  it('is one that even its own user can’t look into', async () => {
    const [user, outside] = [{ uid: 65534, gid: 65534 }, resolve('/')];
    chmodSync(folder, 0o755);
    const look = (pid: number): number | null =>
      spawnSync(process.execPath, ['-e', `require('node:fs').readdirSync('/proc/${pid}/fd')`], {
        ...user,
        cwd: outside,
      }).status;
    const child = spawn(PROGRAM, [folder], { stdio: ['pipe', 'pipe', 'inherit'], ...user, cwd: outside });
    running = child;
    child.stdin.write('.');
    await once(child.stdout, 'data');
    expect(look(child.pid ?? 0)).to.equal(1);
    const open = spawn('/bin/cat', { stdio: ['pipe', 'pipe', 'inherit'], ...user, cwd: outside });
    open.stdin.write('.');
    await once(open.stdout, 'data');
    expect(look(open.pid ?? 0)).to.equal(0);
    open.stdin.end();
  });

  it('serves callers of the agent that come at once by few flushes, and its end fails them', async () => {
    const flush = new VolumeFlush(PROGRAM, folder);
    using one = flush.begin();
    using other = flush.begin();
    await Promise.all([one.flush(), other.flush(), other.flush(), one.flush()]);
    flush.close();
    const missing = new VolumeFlush(PROGRAM, join(folder, 'missing'));
    using without = missing.begin();
    expect(await codeOf(() => without.flush())).to.equal('unavailable');
    missing.close();
  });
});

/** A run folder in /tmp that another user of the host made first is not used. */
import { chmodSync, chownSync, mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect } from 'chai';
import { openController } from '../../cli/connect/connection.js';
import { loadSettings } from '../../shared/config/settings.js';
import { assertOwnRunFolder } from '../../shared/host/own-folder.js';
import { codeOf, errorOf } from '../support/codes.js';

const [ANNA, MALLORY] = [1000, 1001];
const own = process.getuid?.() ?? 0;

describe('the run folder of a user without root', () => {
  let shared: string;
  let base: string;
  let runDir: string;
  beforeEach(() => {
    // As /tmp is.
    shared = mkdtempSync(join(tmpdir(), 'nexus-shared-'));
    chmodSync(shared, 0o1777);
    base = join(shared, 'nexus-1000');
    runDir = join(base, 'nexus');
  });
  afterEach(() => {
    rmSync(shared, { recursive: true });
  });
  const check = (uid = ANNA): Promise<Error> =>
    errorOf(() => Promise.resolve().then(() => assertOwnRunFolder(runDir, uid)));
  const make = (path: string, uid: number, mode: number): void => {
    mkdirSync(path);
    chmodSync(path, mode);
    chownSync(path, uid, uid);
  };
  before(function () {
    // Only root gives files to others.
    if (own !== 0) this.skip();
  });

  it('passes where it is missing, and where it is the caller’s own', () => {
    assertOwnRunFolder(runDir, ANNA);
    make(base, ANNA, 0o700);
    assertOwnRunFolder(runDir, ANNA);
    make(runDir, ANNA, 0o700);
    assertOwnRunFolder(runDir, ANNA);
  });

  it('is refused below a folder that another user made, whoever owns what is in it', async () => {
    for (const mode of [0o777, 0o755, 0o700]) {
      make(base, MALLORY, mode);
      const refused = await check();
      expect(refused).to.include({ code: 'failed_precondition' });
      expect(refused.message).to.include(`${base} belongs to user ${MALLORY}`);
      expect(refused.message).to.include(`remove ${base}`).and.include('XDG_RUNTIME_DIR').and.include('run-dir');
      make(runDir, ANNA, 0o700);
      expect((await check()).message).to.include(`${base} belongs to user ${MALLORY}`);
      rmSync(base, { recursive: true });
    }
  });

  it('is refused where others may write, where it is a link, and where it is no folder', async () => {
    make(base, ANNA, 0o777);
    expect((await check()).message).to.include('may be written to by others, mode 777');
    chmodSync(base, 0o700);
    make(runDir, ANNA, 0o770);
    expect((await check()).message).to.include(`${runDir} (of user ${ANNA}) may be written to by others, mode 770`);
    rmSync(base, { recursive: true });
    symlinkSync('/run', base);
    expect((await check()).message).to.include(`${base} is a link`);
    rmSync(base);
    writeFileSync(base, '');
    expect((await check()).message).to.include(`${base} is no folder`);
  });

  it('stops a command before it speaks to the socket in it', async function () {
    make(base, MALLORY, 0o777);
    const settings = { ...loadSettings({ env: {}, uid: ANNA }), runDir, socket: join(runDir, 'nexus.sock') };
    const command = (uid: number): Promise<unknown> =>
      codeOf(() => openController(settings, new AbortController().signal, undefined, uid));
    mkdirSync(runDir);
    writeFileSync(settings.socket, '');
    expect(await command(ANNA)).to.equal('failed_precondition');
  });
});

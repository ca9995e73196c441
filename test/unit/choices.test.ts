/** What was chosen when nodes were made outlives the flag that said it. */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect } from 'chai';
import { rememberChoices } from '../../controller/host/choices.js';
import { loadSettings, type Settings } from '../../shared/config/settings.js';
import { createLogger } from '../../shared/log.js';
import { errorOf } from '../support/codes.js';

describe('the choices of a cluster', () => {
  let stateDir: string;
  beforeEach(() => {
    stateDir = mkdtempSync(join(tmpdir(), 'nexus-choices-'));
  });
  afterEach(() => {
    rmSync(stateDir, { recursive: true });
  });
  const load = (runtime?: string): Settings => loadSettings({ flags: { stateDir, runtime }, env: {}, uid: 1000 });
  const remember = (settings: Settings, hasNodes: boolean): Promise<void> =>
    rememberChoices(settings, hasNodes, createLogger('test', 'silent'));

  it('are taken where nothing is said: the runtime, and the subnet that follows from it', async () => {
    expect(load()).to.include({ runtime: 'runc' });
    await remember(load('process'), false);
    expect(load()).to.include({ runtime: 'process', subnet: load('process').subnet });
    expect(load('runc')).to.include({ runtime: 'runc' });
  });

  it('can be changed as long as there are no nodes, and are refused with the way out afterwards', async () => {
    await remember(load('runc'), false);
    await remember(load('process'), false);
    const refused = await errorOf(() => remember(load('runc'), true));
    expect(refused).to.include({ code: 'failed_precondition' });
    expect(refused.message).to.match(/made with the runtime process, and runc was asked for; .*nexus down --purge/);
    await remember(load(), true);
  });

  it('are none where the file holds something else', () => {
    for (const text of ['', 'null', '{"runtime":"docker"}']) {
      writeFileSync(join(stateDir, 'choices.json'), text);
      expect(load(), text).to.include({ runtime: 'runc' });
    }
  });
});

import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect } from 'chai';
import { SAMPLE_FILE, sampleText } from '../../deploy/settings-sample.js';
import { describeSettings } from '../../shared/config/describe.js';
import { loadSettings } from '../../shared/config/settings.js';

describe('the sample settings', () => {
  const folder = mkdtempSync(join(tmpdir(), 'nexus-sample-'));
  after(() => {
    rmSync(folder, { recursive: true });
  });
  const load = (text: string): ReturnType<typeof loadSettings> => {
    const file = join(folder, 'nexus.yaml');
    writeFileSync(file, text);
    return loadSettings({ env: {}, file, uid: 0 });
  };

  it('are up to date; else run: npm run sample', () => {
    expect(readFileSync(SAMPLE_FILE, 'utf8')).to.equal(sampleText());
  });

  it('say nothing as they are', () => {
    expect(load(readFileSync(SAMPLE_FILE, 'utf8'))).to.deep.equal(loadSettings({ env: {}, uid: 0 }));
  });

  it('name every setting, and give defaults that change nothing when they are taken', () => {
    const lines = readFileSync(SAMPLE_FILE, 'utf8').split('\n');
    const keys = describeSettings().map(({ key }) => key);
    for (const key of keys) expect(lines.filter((line) => line.startsWith(`# ${key}:`))).to.have.length(1);
    const given = lines.filter((line) => keys.some((key) => line.startsWith(`# ${key}:`))).map((line) => line.slice(2));
    expect(given).to.have.length(keys.length);
    expect(given.filter((line) => line.endsWith(':'))).to.not.have.length(0);
    expect(load(given.join('\n'))).to.deep.equal(loadSettings({ env: {}, uid: 0 }));
  });
});

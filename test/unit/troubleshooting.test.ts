import { readFileSync } from 'node:fs';
import { expect } from 'chai';
import { loadSettings } from '../../shared/config/settings.js';
import { examineHost } from '../../shared/host/probe.js';
import { PROJECT } from '../support/cluster.js';

describe('the troubleshooting page', () => {
  it('has an entry for each check of nexus doctor, and for no other', async () => {
    const page = readFileSync(`${PROJECT}/docs/operations/troubleshooting.md`, 'utf8');
    const rows = [...page.matchAll(/^\| (`.*?) +\|/gm)].flatMap(
      ([, cell = '']) => cell.match(/[^`]+(?=`(,|$| ))/g) ?? [],
    );
    const entries = rows.map((name) => name.trim()).filter((name) => name !== ',' && name !== '');
    const { checks } = await examineHost(loadSettings({ env: {}, uid: 0 }), PROJECT);
    expect(entries.sort()).to.deep.equal([...new Set(checks.map(({ name }) => name))].sort());
  });
});

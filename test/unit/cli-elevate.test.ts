/** A user who is not root is told what can be run here. */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect } from 'chai';
import { runAsRoot } from '../../cli/connect/elevate.js';
import type { Streams } from '../../cli/terminal/streams.js';
import { errorOf } from '../support/codes.js';

describe('a command that needs root', () => {
  const { PATH } = process.env;
  const folder = mkdtempSync(join(tmpdir(), 'nexus-no-sudo-'));
  afterEach(() => {
    process.env['PATH'] = PATH;
    rmSync(folder, { recursive: true });
  });

  it('advises no program that is missing where there is no sudo', async () => {
    process.env['PATH'] = folder;
    const streams = { env: {}, stdin: { isTTY: true } } as unknown as Streams;
    const refused = await errorOf(() => runAsRoot(['node', 'ls'], streams));
    expect(refused).to.include({ code: 'permission_denied' });
    expect(refused.message).to.include('su -c "nexus ..."').and.include('--runtime process');
    expect(refused.message).not.to.include('sudo nexus');
  });
});

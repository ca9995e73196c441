import { expect } from 'chai';
import { appendFileSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { followLog } from '../../controller/node/watch/logs.js';
import { nodeLog } from '../../controller/node/paths.js';
import type { Settings } from '../../shared/config/settings.js';
import type { NodeId } from '../../shared/ids.js';
import { beginLogAnew } from '../../shared/log-files.js';
import { eventually } from '../support/cluster.js';

const NODE = '0123456789ab' as NodeId;

describe("a node's log, as people read it", () => {
  let folder: string;
  let settings: Settings;
  let path: string;

  beforeEach(() => {
    folder = mkdtempSync(join(tmpdir(), 'nexus-logs-'));
    settings = { stateDir: folder, runDir: folder, logFiles: 3 } as Settings;
    mkdirSync(join(folder, 'logs'));
    path = nodeLog(settings, NODE);
  });
  afterEach(() => {
    rmSync(folder, { recursive: true });
  });

  async function read(tail: number): Promise<string> {
    let text = '';
    const request = { follow: false, tail, isThere: () => true, signal: AbortSignal.timeout(60_000) };
    await followLog(settings, NODE, request, async (data) => {
      text += data.toString('utf8');
    });
    return text;
  }

  it('goes on into the logs before it where it has fewer lines than are asked for', async () => {
    writeFileSync(path, 'e\nf\n');
    writeFileSync(`${path}.1`, 'c\nd\n');
    writeFileSync(`${path}.2`, 'a\nb\n');
    expect(await read(1)).to.equal('f\n');
    expect(await read(2)).to.equal('e\nf\n');
    expect(await read(3)).to.equal('d\ne\nf\n');
    expect(await read(5)).to.equal('b\nc\nd\ne\nf\n');
    expect(await read(100)).to.equal('a\nb\nc\nd\ne\nf\n');
    expect(await read(0)).to.equal('a\nb\nc\nd\ne\nf\n');
    writeFileSync(path, '');
    expect(await read(3)).to.equal('b\nc\nd\n');
    writeFileSync(`${path}.1`, '');
    expect(await read(1)).to.equal('b\n');
    rmSync(path);
    expect(await read(1)).to.equal('');
  });

  it('is followed over the moment at which it begins anew, without a line missing or twice', async () => {
    writeFileSync(path, 'one\n');
    writeFileSync(`${path}.1`, 'before\n');
    const end = new AbortController();
    let text = '';
    const request = { follow: true, tail: 1, isThere: () => true, signal: end.signal };
    const following = followLog(settings, NODE, request, async (data) => {
      text += data.toString('utf8');
    });
    await eventually(
      () => text,
      (seen) => seen === 'one\n',
    );
    appendFileSync(path, 'two\n');
    await beginLogAnew(path, settings.logFiles);
    appendFileSync(path, 'three\n');
    await eventually(
      () => text,
      (seen) => seen.endsWith('three\n'),
    );
    // Emptied by a person: the log before it is none that was being followed.
    writeFileSync(path, '');
    appendFileSync(path, '4\n');
    await eventually(
      () => text,
      (seen) => seen.endsWith('4\n'),
    );
    end.abort();
    await following;
    expect(text).to.equal('one\ntwo\nthree\n4\n');
  });
});

/** A 2 GiB file goes through with the CLI, the controller and each agent under 150 MB resident. */
import { expect } from 'chai';
import { execFileSync, spawn } from 'node:child_process';
import { closeSync, openSync, readFileSync, writeSync } from 'node:fs';
import { join } from 'node:path';
import { randomBytes } from 'node:crypto';
import { GIB, MIB } from '../../shared/limits.js';
import { PROJECT, type NodeJson } from '../support/cluster.js';
import { describeWithCluster } from '../support/system.js';

const LIMIT_KB = 150 * 1000;

describeWithCluster('a file of 2 GiB', {}, (cluster) => {
  const peakKb = (pid: number): number =>
    Number(/^VmHWM:\s+(\d+)/m.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1]);

  /** The launcher's own flags, and the command's peak as its parent is told of it. */
  const measured = async (...args: string[]): Promise<{ peakKb: number; stdout: string }> => {
    const main = join(PROJECT, 'dist', 'cli', 'main.js');
    const command = ['-c', MEASURE, process.execPath, main, ...args];
    const child = spawn('python3', command, { env: cluster().env, stdio: ['ignore', 'pipe', 'inherit'] });
    let stdout = '';
    child.stdout.on('data', (data: Buffer) => {
      stdout += data.toString('utf8');
    });
    const code = await new Promise((resolve) => child.once('close', resolve));
    expect(code, args.join(' ')).to.equal(0);
    const lines = stdout.trim().split('\n');
    return { peakKb: Number(lines.pop()), stdout: lines.join('\n') };
  };
  const MEASURE = [
    'import resource, subprocess, sys',
    'code = subprocess.call(sys.argv[1:])',
    'print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)',
    'sys.exit(code)',
  ].join('\n');

  it('passes with everyone under 150 MB resident', async function () {
    this.timeout(600_000);
    for (const name of ['a', 'b', 'c']) await cluster().ok('node', 'create', name, '--mem', '256', '--storage', '1G');
    const source = join(cluster().folder, 'source');
    const file = openSync(source, 'w');
    // The same bytes again and again, each time with another number before them.
    const piece = randomBytes(16 * MIB);
    for (let at = 0; at < 2 * GIB; at += piece.length) {
      piece.writeUInt32BE(at / MIB);
      writeSync(file, piece);
    }
    closeSync(file);
    const upload = await measured('file', 'upload', source, '--output', 'json');
    const { id } = JSON.parse(upload.stdout) as { id: string };
    const copy = join(cluster().folder, 'copy');
    const download = await measured('file', 'download', id, copy);
    execFileSync('cmp', [source, copy]);
    expect(upload.peakKb, 'upload').to.be.lessThan(LIMIT_KB);
    expect(download.peakKb, 'download').to.be.lessThan(LIMIT_KB);
    expect(peakKb(cluster().controllerPid), 'controller').to.be.lessThan(LIMIT_KB);
    for (const node of await cluster().json<NodeJson[]>('node', 'ls')) {
      const agent = Number(readFileSync(`/proc/${node.pid}/task/${node.pid}/children`, 'utf8').trim().split(' ')[0]);
      expect(peakKb(agent), `agent of ${node.name}`).to.be.lessThan(LIMIT_KB);
    }
  });
});

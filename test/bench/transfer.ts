/** Upload and download of 1 GiB by the CLI against `cp` and `md5sum` of the same file, with everyone's peak memory. */
import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { runCommand } from '../../shared/exec.js';
import { GIB } from '../../shared/limits.js';
import { TestCluster, type NodeJson } from '../support/cluster.js';
import { print, printTimes, timed } from './figures.js';
import { writeRandomFile } from './random-file.js';

const RUNS = 3;
const SIZE_BYTES = GIB;
/**
 * Before each measurement, so that all begin alike: dirty pages are on the disk, and memory that the last one freed is
 * no longer at hand (a virtual machine gives it back to its host, and taking it again costs more than copying).
 */
const REST_MS = 4000;

export async function benchTransfer(): Promise<void> {
  const cluster = await TestCluster.start();
  try {
    for (const name of ['a', 'b', 'c']) await cluster.ok('node', 'create', name, '--mem', '256M', '--storage', '3G');
    const source = join(cluster.folder, 'source');
    writeRandomFile(source, SIZE_BYTES);
    const baseline: number[] = [];
    const upload: number[] = [];
    const download: number[] = [];
    for (let run = 0; run < RUNS; run += 1) {
      const copy = join(cluster.folder, 'copy');
      await rest();
      baseline.push(
        await timed(async () => {
          await runCommand('cp', [source, copy], { failure: 'the bench cannot go on', timeoutMs: 120_000 });
          await runCommand('md5sum', [copy], { failure: 'the bench cannot go on', timeoutMs: 120_000 });
        }),
      );
      await runCommand('rm', [copy]);
      let id = '';
      await rest();
      upload.push(
        await timed(async () => {
          ({ id } = JSON.parse(await cluster.typedOk('file', 'upload', source, '-o', 'json')) as { id: string });
        }),
      );
      await rest();
      download.push(await timed(() => cluster.typedOk('file', 'download', id, copy)));
      await runCommand('cmp', [source, copy], { failure: 'the bench cannot go on', timeoutMs: 120_000 });
      await runCommand('rm', [copy]);
      await cluster.ok('file', 'rm', id);
    }
    printTimes('upload of 1 GiB', upload, { name: 'cp + md5sum', timesMs: baseline });
    printTimes('download of 1 GiB', download, { name: 'cp + md5sum', timesMs: baseline });
    print(`peak resident memory: controller ${peakMb(cluster.controllerPid)} MB`);
    for (const node of await cluster.json<NodeJson[]>('node', 'ls'))
      print(`peak resident memory: agent of ${node.name} ${peakMb(agentOf(node.pid))} MB`);
  } finally {
    for (const line of await cluster.dispose()) print(`LEFT BEHIND: ${line}`);
  }
}

async function rest(): Promise<void> {
  await runCommand('sync', []);
  await new Promise((resolve) => setTimeout(resolve, REST_MS));
}

export const agentOf = (pid: number): number =>
  Number(readFileSync(`/proc/${pid}/task/${pid}/children`, 'utf8').trim().split(' ')[0]);

function peakMb(pid: number): string {
  if (!existsSync(`/proc/${pid}/status`)) return '?';
  const kilobytes = /^VmHWM:\s+(\d+)/m.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1];
  return (Number(kilobytes) / 1024).toFixed(0);
}

/**
 * Calls of the virtual file system against a bare gRPC echo in the same run, in a small tree and in one of 100,000 files.
 * The files are empty: they are opened and committed like any other, and no chunk is written.
 */
import { spawn } from 'node:child_process';
import { closeSync, fdatasyncSync, openSync, readFileSync, rmSync, writeSync } from 'node:fs';
import { join } from 'node:path';
import { credentials } from '@grpc/grpc-js';
import type { Controller } from '../../cli/connection.js';
import { FsServiceClient } from '../../shared/gen/nexus/v1/fs.js';
import { PROJECT, TestCluster } from '../support/cluster.js';
import { connectTo } from './controller.js';
import { median, print, timed } from './figures.js';

const CALLS = 300;
const ROUNDS = 3;
const MANY = 100_000;
const IN_FLIGHT = 16;

export async function benchMetadata(): Promise<void> {
  const cluster = await TestCluster.start();
  const echo = await startEcho(join(cluster.folder, 'echo.sock'));
  try {
    const controller = await connectTo(cluster);
    // Where empty files could be stored, if they had a chunk.
    await cluster.ok('node', 'create', 'a', '--storage', '256M');
    const bench = new Bench(controller, echo.client);
    await bench.prepare('/small', 100);
    await bench.prepare('/list', 1000);
    await bench.prepare('/moved', 10_000);
    print(`controller resident with a small tree: ${residentMb(cluster.controllerPid)} MB`);
    const small = await bench.measure('/small');
    const listed = await bench.perCall(ROUNDS * 10, () => bench.list('/list'));
    let at = '/moved';
    const moved = await bench.perCall(CALLS / 3, async (call) => {
      const to = `/moved-${call}`;
      await bench.move(at, to);
      at = to;
    });
    const baseline = median([...small.echo]);
    const show = (what: string, times: readonly number[]): void => {
      print(`${what}: median ${median(times).toFixed(2)} ms, ${(median(times) / baseline).toFixed(2)} x echo`);
    };
    print(`bare gRPC echo: median ${baseline.toFixed(2)} ms of ${CALLS * ROUNDS} calls, one after another`);
    show('stat', small.stat);
    show('mkdir, durable', small.mkdir);
    show('ls of 1,000 entries', listed);
    show('mv of a folder with 10,000 files', moved);
    print(`a file of 4 KB written and synced in the state folder: median ${median(fsyncs(cluster)).toFixed(2)} ms`);
    await bench.prepare('/many', MANY);
    const many = await bench.measure('/many');
    for (const what of ['stat', 'mkdir', 'page'] as const) {
      const ratio = median(many[what]) / median(small[what]);
      print(`${what} among ${MANY} files: median ${median(many[what]).toFixed(2)} ms, ${ratio.toFixed(2)} x among 100`);
    }
    print(`du of ${MANY} files: ${(await timed(() => bench.usage('/'))).toFixed(0)} ms`);
    print(`rm -r of ${MANY} files: ${(await timed(() => bench.remove('/many'))).toFixed(0)} ms`);
    print(`controller resident with ${MANY} files: ${residentMb(cluster.controllerPid)} MB`);
    await controller.close();
  } finally {
    echo.stop();
    for (const line of await cluster.dispose()) print(`LEFT BEHIND: ${line}`);
  }
}

interface Times {
  readonly echo: number[];
  readonly stat: number[];
  readonly mkdir: number[];
  /** The first hundred entries. */
  readonly page: number[];
}

class Bench {
  #folders = 0;

  constructor(
    private readonly controller: Controller,
    private readonly echo: FsServiceClient,
  ) {}

  /** In turns, so that all have the same machine. */
  async measure(folder: string): Promise<Times> {
    const times: Times = { echo: [], stat: [], mkdir: [], page: [] };
    const { fs } = this.controller;
    for (let round = 0; round < ROUNDS; round += 1) {
      times.echo.push(
        ...(await this.perCall(CALLS, () => this.controller.call(this.echo, this.echo.statEntry, { path: '/f' }))),
      );
      times.stat.push(
        ...(await this.perCall(CALLS, (call) =>
          this.controller.call(fs, fs.statEntry, { path: `${folder}/f${call % 100}` }),
        )),
      );
      times.mkdir.push(
        ...(await this.perCall(CALLS, () => {
          this.#folders += 1;
          return this.controller.call(fs, fs.makeFolder, { path: `${folder}/d${this.#folders}`, parents: false });
        })),
      );
      times.page.push(
        ...(await this.perCall(CALLS / 3, () =>
          this.controller.call(fs, fs.listFolder, { path: folder, pageSize: 100, pageToken: '' }),
        )),
      );
    }
    return times;
  }

  async perCall(calls: number, act: (call: number) => Promise<unknown>): Promise<number[]> {
    const times: number[] = [];
    for (let call = 0; call < calls; call += 1) times.push(await timed(() => act(call)));
    return times;
  }

  /** A folder of empty files. */
  async prepare(folder: string, files: number): Promise<void> {
    const { fs, file } = this.controller;
    await this.controller.call(fs, fs.makeFolder, { path: folder, parents: false });
    let next = 0;
    const store = async (): Promise<void> => {
      for (let at = next++; at < files; at = next++) {
        const request = { path: `${folder}/f${at}`, overwrite: false, parents: false, replicas: 0, expectedSize: 0n };
        const { uploadId } = await this.controller.call(fs, fs.openFsUpload, request);
        await this.controller.call(file, file.commitUpload, { uploadId, size: 0n, chunksCount: 0, receipts: [] });
      }
    };
    const took = await timed(() => Promise.all(Array.from({ length: IN_FLIGHT }, store)));
    if (files === MANY) print(`${MANY} empty files stored: ${((files / took) * 1000).toFixed(0)} a second`);
  }

  async list(folder: string): Promise<void> {
    const { fs } = this.controller;
    await this.controller.call(fs, fs.listFolder, { path: folder, pageSize: 1000, pageToken: '' });
  }

  async move(from: string, to: string): Promise<void> {
    await this.controller.call(this.controller.fs, this.controller.fs.moveEntry, { from, to, overwrite: false });
  }

  async usage(path: string): Promise<void> {
    await this.controller.call(this.controller.fs, this.controller.fs.getFolderUsage, { path }, 120_000);
  }

  async remove(path: string): Promise<void> {
    await this.controller.call(this.controller.fs, this.controller.fs.removeEntry, { path, recursive: true }, 600_000);
  }
}

async function startEcho(socket: string): Promise<{ client: FsServiceClient; stop: () => void }> {
  const script = join(PROJECT, 'test', 'bench', 'echo-server.ts');
  const child = spawn(process.execPath, ['--import=tsx', script, socket], { stdio: ['ignore', 'pipe', 'inherit'] });
  await new Promise((resolve) => child.stdout.once('data', resolve));
  const client = new FsServiceClient(`unix:${socket}`, credentials.createInsecure());
  return {
    client,
    stop: () => {
      client.close();
      child.kill();
    },
  };
}

/** What durability costs on this disk, whoever asks for it. */
function fsyncs(cluster: TestCluster): number[] {
  const path = join(cluster.stateDir, 'fsync-probe');
  const file = openSync(path, 'w');
  try {
    return Array.from({ length: 100 }, (_, at) => {
      const start = performance.now();
      writeSync(file, Buffer.alloc(4096), 0, 4096, at * 4096);
      fdatasyncSync(file);
      return performance.now() - start;
    });
  } finally {
    closeSync(file);
    rmSync(path);
  }
}

const residentMb = (pid: number): string =>
  (Number(/^VmRSS:\s+(\d+)/m.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1]) / 1024).toFixed(0);

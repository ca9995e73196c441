/**
 * Calls of the virtual file system against a bare gRPC echo in the same run, of a user with 100 files and of one with
 * 100,000, in turns. The trees are put there by an import of the state; their files are empty.
 */
import { spawn } from 'node:child_process';
import { closeSync, fdatasyncSync, openSync, readFileSync, rmSync, writeFileSync, writeSync } from 'node:fs';
import { join } from 'node:path';
import { credentials } from '@grpc/grpc-js';
import type { Controller } from '../../cli/connect/connection.js';
import { topOf } from '../../controller/store/port/fs.js';
import { FsServiceClient } from '../../shared/gen/nexus/v1/fs.js';
import { newEntryId, newFileId } from '../../shared/ids.js';
import { PROJECT, TestCluster } from '../support/cluster.js';
import { connectTo } from './controller.js';
import { median, print, timed } from './figures.js';

const CALLS = 300;
const ROUNDS = 3;
const FEW = 100;
const MANY = 100_000;
const LISTED = 1000;
const MOVED = 10_000;
const STORED = 1000;
const IN_FLIGHT = 16;

export async function benchMetadata(): Promise<void> {
  const cluster = await TestCluster.start();
  const echo = await startEcho(join(cluster.folder, 'echo.sock'));
  try {
    print(`controller resident when empty: ${residentMb(cluster.controllerPid)} MB`);
    const state = join(cluster.folder, 'state.json');
    writeFileSync(
      state,
      stateOf([
        ...trees('few', { files: FEW }),
        ...trees('crowd', { files: MANY }),
        ...trees('other', { list: LISTED, moved: MOVED }),
      ]),
    );
    print(
      `import of ${MANY + MOVED} files: ${((await timed(() => cluster.typedOk('state', 'import', state))) / 1000).toFixed(1)} s`,
    );
    print(`controller resident with ${MANY + MOVED} files, after the import: ${residentMb(cluster.controllerPid)} MB`);
    await cluster.killController('SIGTERM');
    await cluster.startController();
    await cluster.ok('node', 'create', 'a', '--storage', '256M');
    const few = new Bench(await connectTo(cluster, 'few'), echo.client);
    const crowd = new Bench(await connectTo(cluster, 'crowd'), echo.client);
    const other = new Bench(await connectTo(cluster, 'other'), echo.client);
    const [small, many] = [newTimes(), newTimes()];
    for (let round = 0; round < ROUNDS; round += 1) {
      await few.measure('/files', small);
      await crowd.measure('/files', many);
    }
    const listed = await perCall(ROUNDS * 10, () => other.page('/list', LISTED));
    let at = '/moved';
    const moved = await perCall(CALLS / 3, async (call) => {
      await other.move(at, `/moved-${call}`);
      at = `/moved-${call}`;
    });
    const baseline = median([...small.echo, ...many.echo]);
    const show = (what: string, times: readonly number[]): void => {
      print(`${what}: median ${median(times).toFixed(2)} ms, ${(median(times) / baseline).toFixed(2)} x echo`);
    };
    print(`bare gRPC echo: median ${baseline.toFixed(2)} ms of ${CALLS * ROUNDS * 2} calls, one after another`);
    show('stat', small.stat);
    show('mkdir, durable', small.mkdir);
    show(`ls of ${LISTED} entries`, listed);
    show(`mv of a folder with ${MOVED} files`, moved);
    print(`4 KB written and synced in the state folder: median ${median(syncs(cluster)).toFixed(2)} ms`);
    for (const what of ['stat', 'mkdir', 'ls'] as const) {
      const ratio = median(many[what]) / median(small[what]);
      print(
        `${what} among ${MANY} files: median ${median(many[what]).toFixed(2)} ms, ${ratio.toFixed(2)} x among ${FEW}`,
      );
    }
    const stored = await timed(() => few.store('/files', STORED));
    print(`empty files stored, ${IN_FLIGHT} at a time: ${((STORED / stored) * 1000).toFixed(0)} a second`);
    print(`du of ${MANY} files: ${(await timed(() => crowd.usage('/'))).toFixed(0)} ms`);
    print(`controller resident with ${MANY + MOVED} files, after these calls: ${residentMb(cluster.controllerPid)} MB`);
    print(`rm -r of ${MANY} files: ${((await timed(() => crowd.remove('/files'))) / 1000).toFixed(1)} s`);
    print(`controller resident after the removal: ${residentMb(cluster.controllerPid)} MB`);
    for (const bench of [few, crowd, other]) await bench.controller.close();
  } finally {
    echo.stop();
    for (const line of await cluster.dispose()) print(`LEFT BEHIND: ${line}`);
  }
}

interface Tree {
  readonly owner: string;
  readonly folder: string;
  readonly files: number;
}

const trees = (owner: string, folders: Readonly<Record<string, number>>): Tree[] =>
  Object.entries(folders).map(([folder, files]) => ({ owner, folder, files }));

/** A document as `nexus state export` writes it. */
function stateOf(all: readonly Tree[]): string {
  const at = new Date().toISOString();
  const entries: object[] = [];
  const files: object[] = [];
  for (const { owner, folder, files: count } of all) {
    const place = { owner, created_at: at, modified_at: at };
    const parent = newEntryId();
    entries.push({ ...place, id: parent, parent_id: topOf(owner), name: folder, type: 'folder', file_id: null });
    for (let number = 0; number < count; number += 1) {
      const id = newFileId();
      const name = `f${number}`;
      const content = { kind: 'fs', size: 0, chunks_count: 0, replicas: 1, status: 'ready', chunks: [] };
      files.push({ id, name, owner, created_at: at, ...content });
      entries.push({ ...place, id: newEntryId(), parent_id: parent, name, type: 'file', file_id: id });
    }
  }
  const accounts = [...new Set(all.map(({ owner }) => owner))].map((owner) => ({ owner, limit: 0, created_at: at }));
  return JSON.stringify({ format: 'nexus-state', version: 1, nodes: [], accounts, entries, files });
}

interface Times {
  readonly echo: number[];
  readonly stat: number[];
  readonly mkdir: number[];
  /** The first hundred entries. */
  readonly ls: number[];
}

const newTimes = (): Times => ({ echo: [], stat: [], mkdir: [], ls: [] });

async function perCall(calls: number, act: (call: number) => Promise<unknown>): Promise<number[]> {
  const times: number[] = [];
  for (let call = 0; call < calls; call += 1) times.push(await timed(() => act(call)));
  return times;
}

class Bench {
  #folders = 0;

  constructor(
    readonly controller: Controller,
    private readonly echo: FsServiceClient,
  ) {}

  async measure(folder: string, times: Times): Promise<void> {
    const { fs } = this.controller;
    const call = this.controller.call.bind(this.controller);
    times.echo.push(...(await perCall(CALLS, () => call(this.echo, this.echo.statEntry, { path: '/f' }))));
    const statOf = (number: number): Promise<unknown> => call(fs, fs.statEntry, { path: `${folder}/f${number % FEW}` });
    times.stat.push(...(await perCall(CALLS, statOf)));
    const makeOne = (): Promise<unknown> =>
      call(fs, fs.makeFolder, { path: `${folder}/d${(this.#folders += 1)}`, parents: false });
    times.mkdir.push(...(await perCall(CALLS, makeOne)));
    times.ls.push(...(await perCall(CALLS / 3, () => this.page(folder, FEW))));
  }

  async page(folder: string, pageSize: number): Promise<void> {
    const { fs } = this.controller;
    await this.controller.call(fs, fs.listFolder, { path: folder, pageSize, pageToken: '' });
  }

  /** Each is opened and committed as any other. */
  async store(folder: string, files: number): Promise<void> {
    const { fs, file } = this.controller;
    let next = 0;
    const work = async (): Promise<void> => {
      for (let at = next++; at < files; at = next++) {
        const request = {
          path: `${folder}/new-${at}`,
          overwrite: false,
          parents: false,
          replicas: 0,
          expectedSize: 0n,
        };
        const { uploadId } = await this.controller.call(fs, fs.openFsUpload, request);
        await this.controller.call(file, file.commitUpload, { uploadId, size: 0n, chunksCount: 0, receipts: [] });
      }
    };
    await Promise.all(Array.from({ length: IN_FLIGHT }, work));
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
function syncs(cluster: TestCluster): number[] {
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

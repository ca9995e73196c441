/**
 * Five nodes that die and come back at random while files are written, read and removed. What was committed reads back
 * identical, what failed left nothing, and in the end every chunk has its two copies.
 */
import { createHash, randomBytes, randomInt } from 'node:crypto';
import { readFileSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { expect } from 'chai';
import { CHUNK_SIZE_BYTES } from '../../shared/limits.js';
import { eventually, type NodeJson } from '../support/cluster.js';
import { describeWithCluster } from '../support/system.js';

const NODES = ['a', 'b', 'c', 'd', 'e'];
const RUN_MS = 60_000;
/** A machine that is busy with much else takes several times as long until enough has happened. */
const LIMIT_MS = 900_000;

interface FileJson {
  readonly id: string;
  readonly name: string;
  readonly size: number;
}
interface WhereJson {
  readonly chunks: readonly { readonly replicas: readonly { readonly state: string }[] }[];
}
interface QuotaJson {
  readonly used: number;
  readonly reserved: number;
  readonly recounted_used: number;
  readonly recounted_reserved: number;
}
interface StatusJson {
  readonly storage: { files: number; under_replicated: number; pending_deletes: number };
  readonly repair: { lacking_chunks: number; orphan_chunks: number };
}

const sha = (data: Buffer): string => createHash('sha256').update(data).digest('hex');
const pause = (least: number, most: number): Promise<void> =>
  new Promise((resolve) => setTimeout(resolve, randomInt(least, most)));

describeWithCluster('storage under random failures', {}, (cluster) => {
  const committed = new Map<string, string>();
  const refusals: string[] = [];
  let reads = 0;
  let readsThatWaited = 0;
  let kills = 0;
  let isOver = false;

  async function write(): Promise<void> {
    while (!isOver) {
      const data = randomBytes(randomInt(1, 3 * CHUNK_SIZE_BYTES));
      const result = await cluster().runWith({ input: data }, 'file', 'upload', '-', '--replicas', '2', '-o', 'json');
      if (result.code === 0) committed.set((JSON.parse(result.stdout) as FileJson).id, sha(data));
      else refusals.push(result.stderr.trim());
      if (committed.size > 25) await remove();
      await pause(200, 800);
    }
  }

  async function remove(): Promise<void> {
    const [id] = committed.keys();
    if (id === undefined) return;
    committed.delete(id);
    await cluster().ok('file', 'rm', id);
  }

  async function read(): Promise<void> {
    const path = join(cluster().folder, 'read');
    while (!isOver) {
      await pause(200, 800);
      const ids = [...committed.keys()];
      const id = ids[randomInt(Math.max(1, ids.length))];
      if (id === undefined) continue;
      const expected = committed.get(id);
      const result = await cluster().run('file', 'download', id, path);
      // Removed by the writer meanwhile, or both nodes are down: it may fail, but never with other bytes.
      if (result.code !== 0) {
        if (committed.has(id)) readsThatWaited += 1;
        continue;
      }
      reads += 1;
      expect(sha(readFileSync(path))).to.equal(expected);
      rmSync(path);
    }
  }

  async function disturb(): Promise<void> {
    while (!isOver) {
      await pause(500, 3000);
      const name = NODES[randomInt(NODES.length)] ?? 'a';
      const found = await cluster().json<NodeJson>('node', 'inspect', name);
      if (found.status !== 'Running') continue;
      process.kill(found.pid, 'SIGKILL');
      kills += 1;
      await eventually(
        () => cluster().json<NodeJson>('node', 'inspect', name),
        (node) => node.status === 'Failed',
      );
      await pause(0, 4000);
      await cluster().ok('node', 'start', name);
    }
  }

  it('loses nothing that was committed and keeps nothing that was not', async () => {
    for (const name of NODES) await cluster().ok('node', 'create', name, '--storage', '512M');
    // On a busy machine it goes on until enough has happened to mean something.
    const began = performance.now();
    const end = setInterval(() => {
      const lastedMs = performance.now() - began;
      const isEnough = Math.min(kills, reads, committed.size) > 10;
      isOver = lastedMs > LIMIT_MS || (lastedMs > RUN_MS && isEnough);
    }, 500);
    try {
      await Promise.all([write(), write(), read(), disturb(), disturb()]);
    } finally {
      isOver = true;
      clearInterval(end);
    }
    expect(kills, 'kills').to.be.greaterThan(10);
    expect(reads, 'reads').to.be.greaterThan(10);
    expect(committed.size).to.be.greaterThan(10);
    for (const node of await cluster().json<NodeJson[]>('node', 'ls')) {
      if (node.status === 'Failed') await cluster().ok('node', 'start', node.name);
    }
    await eventually(
      () => cluster().json<StatusJson>('status'),
      ({ storage, repair }) =>
        storage.under_replicated === 0 && repair.lacking_chunks === 0 && storage.pending_deletes === 0,
      60_000,
    );
    const listed = await cluster().json<FileJson[]>('file', 'ls');
    expect(listed.map((file) => file.id).sort()).to.deep.equal([...committed.keys()].sort());
    for (const [id, expected] of committed) {
      const path = join(cluster().folder, 'last');
      await cluster().ok('file', 'download', id, path);
      expect(sha(readFileSync(path))).to.equal(expected);
      await cluster().ok('file', 'verify', id);
    }
    // What the catalogue does not know lies on no volume either.
    let catalogued = 0;
    for (const id of committed.keys()) {
      const { chunks } = await cluster().json<WhereJson>('file', 'where', id);
      for (const chunk of chunks) expect(chunk.replicas.map(({ state }) => state)).to.deep.equal(['ready', 'ready']);
      catalogued += 2 * chunks.length;
    }
    await eventually(
      () => cluster().json<{ report?: { chunks: number } }[]>('node', 'ls'),
      (nodes) => nodes.reduce((sum, { report }) => sum + (report?.chunks ?? NaN), 0) === catalogued,
      60_000,
    );
    const quota = await cluster().json<QuotaJson>('fs', 'quota', '--recount');
    expect(quota.used).to.equal(listed.reduce((sum, { size }) => sum + size, 0));
    expect(quota.reserved).to.equal(0);
    expect([quota.recounted_used, quota.recounted_reserved]).to.deep.equal([quota.used, quota.reserved]);
    process.stdout.write(
      `      ${kills} kills, ${reads} reads, ${readsThatWaited} reads refused, ${refusals.length} uploads refused\n`,
    );
  }).timeout(LIMIT_MS + 300_000);
});

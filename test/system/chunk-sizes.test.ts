/** A file whose sender named the sizes of its chunks: every range of it, a node that is killed, repair, and a rebuild. */
import { randomBytes } from 'node:crypto';
import { readdirSync, readFileSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { expect } from 'chai';
import { grpcCatalogue } from '../../cli/connect/catalogue.js';
import { openController } from '../../cli/connect/connection.js';
import { loadSettings } from '../../shared/config/settings.js';
import { MIB } from '../../shared/limits.js';
import { streamSource } from '../../shared/transfer/source.js';
import { uploadFile } from '../../shared/transfer/upload.js';
import { eventually } from '../support/cluster.js';
import { GatewayClient } from '../support/gateway.js';
import { describeWithCluster } from '../support/system.js';

interface WhereJson {
  readonly chunks: readonly { readonly size: number; readonly replicas: readonly { node: string; state: string }[] }[];
}
interface RebuiltJson {
  readonly files: readonly { readonly id: string; readonly verdict: string }[];
}

const SIZES = [1, 5 * MIB, 3, 7 * MIB, 10 * MIB, 4711];
const TOTAL = SIZES.reduce((sum, size) => sum + size, 0);
/** Offsets of the chunks, and the end. */
const EDGES = SIZES.reduce<number[]>((edges, size) => [...edges, (edges.at(-1) ?? 0) + size], [0]);

describeWithCluster('a file with chunks of explicit sizes', { runtime: 'process', gateway: true }, (cluster) => {
  const content = randomBytes(TOTAL);
  let id: string;

  const readBack = async (...words: string[]): Promise<Buffer> => {
    const path = join(cluster().folder, 'copy');
    rmSync(path, { force: true });
    await cluster().ok('file', 'download', id, path, ...words);
    return readFileSync(path);
  };
  /** Every edge from both sides, and everything. */
  const isWhole = async (): Promise<void> => {
    expect((await readBack()).equals(content), 'the whole').to.equal(true);
    const inside = EDGES.slice(1, -1);
    const ranges = [
      ...inside.map((edge) => [edge - 1, edge] as const),
      [0, 0] as const,
      [EDGES[1] ?? 0, EDGES[3] ?? 0] as const,
    ];
    for (const [from, to] of ranges) {
      const part = await readBack('--range', `${from}-${to}`);
      expect(part.equals(content.subarray(from, to + 1)), `${from}-${to}`).to.equal(true);
    }
    expect((await readBack('--range', '-4712')).equals(content.subarray(TOTAL - 4712)), 'the end').to.equal(true);
  };
  const where = (): Promise<WhereJson> => cluster().json<WhereJson>('file', 'where', id);

  it('is read in any range', async () => {
    for (const name of ['a', 'b', 'c']) await cluster().ok('node', 'create', name, '--storage', '128M');
    const settings = loadSettings({ env: { ...cluster().env, NEXUS_CONFIG: undefined }, uid: 0 });
    const signal = new AbortController().signal;
    const controller = await openController(settings, signal);
    try {
      async function* pieces(): AsyncGenerator<Buffer> {
        for (let at = 0; at < TOTAL; at += 777_777) {
          await Promise.resolve();
          yield content.subarray(at, at + 777_777);
        }
      }
      const request = { name: 'parts.bin', replicas: 2, expectedSize: TOTAL, chunkSizes: SIZES, signal };
      const file = await uploadFile(grpcCatalogue(controller), { ...request, source: streamSource(pieces()) });
      expect(file).to.deep.include({ explicitSizes: true, chunksCount: SIZES.length, size: BigInt(TOTAL) });
      id = file.id;
    } finally {
      await controller.close();
    }
    expect((await where()).chunks.map(({ size }) => size)).to.deep.equal(SIZES);
    await isWhole();
  });

  it('is read in any range through the gateway', async () => {
    const gateway = await GatewayClient.of(cluster());
    const token = await gateway.register('ann');
    await cluster().ok('user', 'set-role', 'ann', 'admin');
    const url = new URL(`/api/files/${id}/download`, gateway.url);
    const headers = { authorization: `Bearer ${token}` };
    for (const edge of EDGES.slice(1, -1)) {
      const answer = await fetch(url, { headers: { ...headers, range: `bytes=${edge - 1}-${edge + 1}` } });
      const part = Buffer.from(await answer.arrayBuffer());
      expect([answer.status, part.equals(content.subarray(edge - 1, edge + 2))], `${edge}`).to.deep.equal([206, true]);
    }
    const head = await fetch(url, { method: 'HEAD', headers: { ...headers, range: `bytes=${EDGES[4] ?? 0}-` } });
    expect([head.status, head.headers.get('content-length')]).to.deep.equal([200, String(TOTAL)]);
  });

  it('is repaired when a node is lost, and verified', async () => {
    const { pid } = await cluster().json<{ pid: number }>('node', 'inspect', 'a');
    process.kill(pid, 'SIGKILL');
    await cluster().ok('node', 'rm', 'a', '--force');
    await eventually(where, ({ chunks }) =>
      chunks.every(({ replicas }) => replicas.filter(({ state }) => state === 'ready').length === 2),
    );
    expect((await cluster().run('file', 'verify', id)).code).to.equal(0);
    await isWhole();
  });

  it('comes back with a copy of the state, and from the volumes alone', async () => {
    const saved = join(cluster().folder, 'state.json');
    await cluster().ok('state', 'export', saved);
    const loseDatabase = async (): Promise<void> => {
      await cluster().ok('down');
      await cluster().controllerEnd();
      for (const name of readdirSync(cluster().stateDir).filter((entry) => entry.startsWith('nexus.db')))
        rmSync(join(cluster().stateDir, name));
      await cluster().startController();
    };
    await loseDatabase();
    await cluster().ok('state', 'import', saved);
    await isWhole();
    await loseDatabase();
    const rebuilt = await cluster().json<RebuiltJson>('state', 'rebuild');
    expect(rebuilt.files.find((file) => file.id === id)?.verdict).to.equal('whole');
    await isWhole();
  });
});

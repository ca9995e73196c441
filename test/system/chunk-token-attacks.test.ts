/** What the holder of a real chunk token can do with it, through the gateway and at the agent itself: one thing each. */
import { createHash } from 'node:crypto';
import { credentials, Metadata, type ServiceError } from '@grpc/grpc-js';
import { expect } from 'chai';
import { FileServiceClient, type ChunkTarget, type File } from '../../shared/gen/nexus/v1/file.js';
import { eventually } from '../support/cluster.js';
import { GatewayClient } from '../support/gateway.js';
import { describeWithCluster } from '../support/system.js';

const md5Of = (content: string): string => createHash('md5').update(content).digest('hex');
/** Ways for the bytes: at the gateway with the user's token, and at the agent, which knows no users. */
type Way = (target: ChunkTarget, chunk: string, body?: string) => Promise<number>;

describeWithCluster('attacks with chunk tokens', { runtime: 'process', gateway: true }, (cluster) => {
  let gateway: GatewayClient;
  let alice: string;
  let mallory: string;
  let files: FileServiceClient;
  before(async () => {
    gateway = await GatewayClient.of(cluster());
    alice = await gateway.register('alice');
    mallory = await gateway.register('mallory');
    for (const node of ['n1', 'n2']) await cluster().ok('node', 'create', node, '--storage', '256M');
    files = new FileServiceClient(new URL(gateway.url).host, credentials.createInsecure());
  });
  after(() => {
    (files as FileServiceClient | undefined)?.close();
  });

  type Method<Request, Answer> = (
    request: Request,
    metadata: Metadata,
    options: object,
    done: (error: ServiceError | null, answer: Answer) => void,
  ) => unknown;
  const asAlice = <Request, Answer>(method: Method<Request, Answer>, request: Request): Promise<Answer> =>
    new Promise((resolve, reject) => {
      const metadata = new Metadata();
      metadata.set('authorization', `Bearer ${alice}`);
      method.call(files, request, metadata, {}, (error: ServiceError | null, answer: Answer) => {
        if (error === null) resolve(answer);
        else reject(error);
      });
    });

  const send = async (url: string, headers: Record<string, string>, body: string | undefined): Promise<Response> =>
    await fetch(url, {
      ...(body === undefined ? {} : { method: 'PUT', body }),
      headers: { ...headers, ...(body === undefined ? {} : { 'x-nexus-md5': md5Of(body) }) },
    });
  const relayed = ({ nodeId, token }: ChunkTarget, chunk: string, body: string | undefined, user: string) =>
    send(
      `${gateway.url}/chunks/${nodeId}/${chunk}`,
      { authorization: `Bearer ${user}`, 'x-nexus-chunk-token': token },
      body,
    );
  const ways: Readonly<Record<string, Way>> = {
    'through the gateway': async (target, chunk, body) => (await relayed(target, chunk, body, alice)).status,
    'at the agent': async ({ address, token }, chunk, body) =>
      (await send(`http://${address}/chunks/${chunk}`, { authorization: `Bearer ${token}` }, body)).status,
  };

  async function begin(): Promise<{ uploadId: string; chunk: string; target: ChunkTarget; other: ChunkTarget }> {
    const { uploadId } = await asAlice(files.openUpload, { name: 'a', replicas: 2, expectedSize: 0n });
    const { grants } = await asAlice(files.grantChunks, { uploadId, count: 1, retry: [], receipts: [], sizes: [] });
    const [target, other] = grants[0]?.targets ?? [];
    if (target === undefined || other === undefined) throw new Error('no grant for two nodes');
    return { uploadId, chunk: grants[0]?.chunkId ?? '', target, other };
  }
  /** The right to read the only chunk of a file, on the node of `like`. */
  async function rightToRead(file: string, like: ChunkTarget): Promise<ChunkTarget> {
    const { chunks } = await asAlice(files.openDownload, { file, fromIndex: 0, count: 1, leaseId: '' });
    const found = chunks[0]?.replicas.find(({ nodeId }) => nodeId === like.nodeId);
    if (found === undefined) throw new Error('no token for the node');
    return found;
  }

  async function stored(): Promise<{ file: File; chunk: string; write: ChunkTarget; other: ChunkTarget }> {
    const { uploadId, chunk, target, other } = await begin();
    const answer = await relayed(target, chunk, 'content', alice);
    expect(answer.status).to.equal(201);
    const { receipts } = (await answer.json()) as { receipts: string[] };
    const given = receipts.map((receipt) => ({ index: 0, receipt }));
    const { file } = await asAlice(files.commitUpload, { uploadId, size: 7n, chunksCount: 1, receipts: given });
    if (file === undefined) throw new Error('no file');
    return { file, chunk, write: target, other };
  }

  it('of somebody else’s, which their own account does not open at the gateway', async () => {
    const { file, chunk, write } = await stored();
    const read = await rightToRead(file.id, write);
    for (const [target, body] of [
      [read, undefined],
      [write, 'content'],
    ] as const) {
      const answer = await relayed(target, chunk, body, mallory);
      expect([answer.status, ((await answer.json()) as { code: string }).code]).to.deep.equal([
        403,
        'permission_denied',
      ]);
    }
    expect((await relayed(read, chunk, undefined, alice)).status).to.equal(200);
  });

  for (const [name, way] of Object.entries(ways)) {
    it(`for another operation, chunk, node or size are refused ${name}`, async () => {
      const { file, chunk, write, other } = await stored();
      const read = await rightToRead(file.id, write);
      const next = await begin();
      expect(await way(write, chunk), 'reads by a write token').to.equal(403);
      expect(await way(read, chunk, 'content'), 'writes by a read token').to.equal(403);
      expect(await way(read, next.chunk), 'reads another chunk').to.equal(403);
      expect(await way(write, next.chunk, 'content'), 'writes another chunk').to.equal(403);
      expect(await way({ ...other, token: read.token }, chunk), 'at another node').to.equal(403);
      expect(await way(next.target, next.chunk, 'x'.repeat(10_485_761)), 'more than a chunk').to.be.oneOf([403, 413]);
      const [claims = '', signature = ''] = read.token.split('.');
      const longer = { ...(JSON.parse(Buffer.from(claims, 'base64url').toString()) as object), exp: 9e15 };
      const forged = `${Buffer.from(JSON.stringify(longer)).toString('base64url')}.${signature}`;
      expect(await way({ ...read, token: forged }, chunk), 'of longer life').to.equal(401);
    });

    it(`used again ${name} read what is there, and change and bring back nothing`, async () => {
      const { file, chunk, write, other } = await stored();
      const read = await rightToRead(file.id, write);
      const content = () => gateway.call('GET', `/api/files/${file.id}/download`, { token: alice });
      expect([await way(read, chunk), await way(read, chunk)]).to.deep.equal([200, 200]);
      expect(await way(write, chunk, 'content'), 'the same again').to.equal(200);
      expect(await way(write, chunk, 'CONTENT'), 'other content').to.equal(409);
      expect(await way(other, chunk, 'CONTENT'), 'other content at the other node').to.equal(409);
      expect((await content()).text).to.equal('content');
      expect((await gateway.call('DELETE', `/api/files/${file.id}`, { token: alice })).status).to.equal(200);
      await eventually(
        () => cluster().json<{ storage: { pending_deletes: number } }>('status'),
        ({ storage }) => storage.pending_deletes === 0,
      );
      expect(await way(read, chunk), 'read after removal').to.equal(404);
      expect(await way(write, chunk, 'content'), 'written after removal').to.equal(409);
      expect(await way(other, chunk, 'content'), 'written after removal at the other node').to.equal(409);
      expect(await way(read, chunk), 'still gone').to.equal(404);
      expect((await content()).status).to.equal(404);
    });

    it(`for an upload that was given up write nothing ${name}`, async () => {
      const { uploadId, chunk, target } = await begin();
      await asAlice(files.abortUpload, { uploadId });
      await eventually(
        () => cluster().json<{ storage: { pending_deletes: number } }>('status'),
        ({ storage }) => storage.pending_deletes === 0,
      );
      expect(await way(target, chunk, 'content')).to.equal(409);
    });
  }
});

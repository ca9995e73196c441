/** The edge of the file service: what is refused before any use case sees it, and the shapes that come back. */
import { Metadata, type handleUnaryCall, type ServiceError } from '@grpc/grpc-js';
import { expect } from 'chai';
import type { NodeRegistry } from '../../controller/node/registry.js';
import { LocalEdge } from '../../controller/edge/admission.js';
import { fileServiceHandlers } from '../../controller/edge/services/file.js';
import { codeOfGrpcStatus } from '../../shared/errors.js';
import type { FileServiceServer } from '../../shared/gen/nexus/v1/file.js';
import { CHUNK_SIZE_BYTES } from '../../shared/limits.js';
import { FileBench } from '../support/files.js';

interface Refusal {
  readonly code: string;
  readonly message: string;
}

describe('FileService', () => {
  let bench: FileBench;
  let service: FileServiceServer;

  beforeEach(() => {
    bench = new FileBench();
    const registry = { get: (id: string) => bench.nodes.find(id as never) } as unknown as NodeRegistry;
    service = fileServiceHandlers(
      bench.files,
      bench.upkeep,
      registry,
      new LocalEdge(bench.deps.log, () => Promise.resolve(true)),
    );
  });

  function call<Request, Response>(handler: handleUnaryCall<Request, Response>, request: Request): Promise<Response> {
    return new Promise((resolve, reject) => {
      const incoming = { request, on: () => undefined, getPath: () => '/test', metadata: new Metadata() };
      handler(incoming as never, (error, response) => {
        if (error === null) resolve(response as Response);
        else reject(Object.assign(new Error(error.details), error));
      });
    });
  }

  async function refusalOf<Request, Response>(
    handler: handleUnaryCall<Request, Response>,
    request: Request,
  ): Promise<Refusal> {
    try {
      await call(handler, request);
    } catch (error) {
      const { code, details } = error as ServiceError;
      return { code: codeOfGrpcStatus(code), message: details };
    }
    return { code: 'accepted', message: '' };
  }

  const opening = (change: object = {}) => ({ name: 'a.bin', replicas: 1, expectedSize: 0n, ...change });
  const named = (name: string) => refusalOf(service.openUpload, opening({ name }));

  it('carries one file from opening to removal', async () => {
    const { uploadId, chunkSize } = await call(service.openUpload, opening({ expectedSize: 5n }));
    expect(chunkSize).to.equal(CHUNK_SIZE_BYTES);
    const { grants } = await call(service.grantChunks, { uploadId, count: 1, retry: [], receipts: [], sizes: [] });
    const receipts = bench.receiptsOf(grants[0] as never, 5);
    const { file } = await call(service.commitUpload, { uploadId, size: 5n, chunksCount: 1, receipts });
    expect(file).to.deep.include({
      name: 'a.bin',
      size: 5n,
      chunksCount: 1,
      owner: 'admin',
      status: 'ready',
      createdAt: new Date(bench.nowMs).toISOString(),
    });
    const id = file!.id;
    const page = await call(service.listFiles, { pageSize: 0, pageToken: '', statuses: [] });
    expect(page).to.deep.equal({ files: [file], nextPageToken: '' });
    expect((await call(service.getFile, { file: id.slice(0, 12) })).file).to.deep.equal(file);
    const where = await call(service.locateFile, { file: id, why: true });
    const reason = 'dealt in turn to 3 node(s) with room';
    expect(where.chunks[0]?.replicas).to.deep.equal([{ node: 'node-0', nodeId: bench.id(0), state: 'ready', reason }]);
    const { chunks } = await call(service.openDownload, { file: id, leaseId: '', fromIndex: 0, count: 0 });
    expect(chunks[0]).to.deep.include({ index: 0, size: 5, md5: 'a'.repeat(32) });
    expect(chunks[0]?.replicas[0]).to.deep.include({ nodeName: 'node-0', address: '10.0.0.2:7400' });
    expect(await call(service.removeFile, { file: id })).to.deep.equal({ id, name: 'a.bin' });
    expect((await refusalOf(service.getFile, { file: id })).code).to.equal('not_found');
  });

  it('takes any plain name', async () => {
    for (const name of ['a', '...', '.hidden', 'with space', '文件 ', 'ä'.repeat(127), '-rf', 'a\\b', '%00']) {
      expect(await named(name), name).to.deep.include({ code: 'accepted' });
    }
  });

  it('refuses names that are none, naming the field', async () => {
    const paths = ['', '.', '..', 'a/b', '/'];
    const steering = ['a\nb', 'a\u0000', '\u001b[2J', '\u009b2J', '\u007f'];
    for (const name of [...paths, ...steering, 'x'.repeat(256), 'ä'.repeat(128)]) {
      const { code, message } = await named(name);
      expect(code, JSON.stringify(name)).to.equal('invalid_argument');
      expect(message).to.match(/^name: /);
    }
  });

  it('refuses what is out of bounds, naming the field', async () => {
    const id = 'a'.repeat(32);
    const grant = { uploadId: id, count: 1, retry: [], receipts: [], sizes: [] };
    const commit = { uploadId: id, size: 1n, chunksCount: 1, receipts: [] };
    const longReceipt = { index: 0, receipt: 'x'.repeat(5000) };
    const refusals: [Promise<Refusal>, RegExp][] = [
      [refusalOf(service.openUpload, opening({ replicas: 9 })), /^replicas: /],
      [refusalOf(service.openUpload, opening({ expectedSize: 2n ** 53n })), /^expected_size: /],
      [refusalOf(service.grantChunks, { ...grant, uploadId: "' OR 1=1" }), /^upload_id: /],
      [refusalOf(service.grantChunks, { ...grant, count: 65 }), /^count: /],
      [refusalOf(service.grantChunks, { ...grant, receipts: [longReceipt] }), /^receipts\.0\.receipt: /],
      [refusalOf(service.grantChunks, { ...grant, sizes: [0] }), /^sizes\.0: /],
      [refusalOf(service.grantChunks, { ...grant, sizes: [CHUNK_SIZE_BYTES + 1] }), /^sizes\.0: /],
      [refusalOf(service.grantChunks, { ...grant, sizes: Array<number>(65).fill(1) }), /^sizes: /],
      [refusalOf(service.findChunks, { file: '', start: 0n, end: 1n, leaseId: '' }), /^file: /],
      [refusalOf(service.findChunks, { file: 'a', start: 2n ** 53n, end: 1n, leaseId: '' }), /^start: /],
      [refusalOf(service.findChunks, { file: 'a', start: 0n, end: 2n ** 63n, leaseId: '' }), /^end: /],
      [refusalOf(service.findChunks, { file: 'a', start: 0n, end: 1n, leaseId: 'x' }), /^lease_id: /],
      [refusalOf(service.commitUpload, { ...commit, size: 2n ** 63n }), /^size: /],
      [refusalOf(service.abortUpload, { uploadId: '' }), /^upload_id: /],
      [refusalOf(service.openDownload, { file: 'a', leaseId: '', fromIndex: 0, count: 257 }), /^count: /],
      [refusalOf(service.listFiles, { pageSize: 1001, pageToken: '', statuses: [] }), /^page_size: /],
      [refusalOf(service.listFiles, { pageSize: 1, pageToken: 'x'.repeat(65), statuses: [] }), /^page_token: /],
      [refusalOf(service.getFile, { file: '' }), /^file: /],
      [refusalOf(service.locateFile, { file: 'a'.repeat(256), why: false }), /^file: /],
      [refusalOf(service.removeFile, { file: '' }), /^file: /],
    ];
    for (const [refusing, field] of refusals) {
      const { code, message } = await refusing;
      expect(code, String(field)).to.equal('invalid_argument');
      expect(message).to.match(field);
    }
  });

  it('says not_found for what is not there', async () => {
    const id = 'a'.repeat(32);
    const commit = { uploadId: id, size: 0n, chunksCount: 0, receipts: [] };
    expect((await refusalOf(service.commitUpload, commit)).code).to.equal('not_found');
    expect((await refusalOf(service.removeFile, { file: 'beef' })).code).to.equal('not_found');
    expect((await refusalOf(service.getFile, { file: '%' })).code).to.equal('not_found');
    expect(await call(service.abortUpload, { uploadId: id })).to.deep.equal({});
  });
});

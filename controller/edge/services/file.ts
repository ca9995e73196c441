/** FileService: validates requests, calls use cases, converts records. */
import { z } from 'zod';
import type { ChunkLocation, ChunkTarget, FileServiceServer } from '../../../shared/gen/nexus/v1/file.js';
import { isChunkId, type LeaseId, type NodeId, type UploadId } from '../../../shared/ids.js';
import {
  CHUNK_SIZE_BYTES,
  MAX_FILE_NAME_BYTES,
  MAX_GRANTS_PER_CALL,
  MAX_REPLICAS,
  MAX_SOURCES_PER_PAGE,
  MIB,
} from '../../../shared/limits.js';
import type { FileUseCases } from '../../file/use-cases.js';
import type { NodeRegistry } from '../../node/registry.js';
import type { Upkeep } from '../../repair/upkeep.js';
import type { ChunkRecord } from '../../store/port/store.js';
import { scopeOf, type Edge } from '../admission.js';
import { serverStream, unary } from '../handlers.js';
import { fileShape, openedShape } from '../shapes.js';
import { parseRequest } from '../validate.js';

const DEFAULT_SOURCES_PER_PAGE = 64;
const MAX_FILES_PER_PAGE = 1000;
/** Receipts in one call; a client sends them along with each next grant. */
const MAX_RECEIPTS_PER_CALL = 4096;

/** C0 and C1: both can control a terminal that lists the name. */
const CONTROL = /\p{Cc}/u;

const uploadId = z
  .string()
  .regex(/^[0-9a-f]{32}$/, 'must be an upload id')
  .transform((text) => text as UploadId);
const bytes = z
  .bigint()
  .refine((value) => value <= BigInt(Number.MAX_SAFE_INTEGER), 'is too large')
  .transform(Number);
const count = z.number().int();
const receipts = z.array(z.object({ index: count, receipt: z.string().max(4096) })).max(MAX_RECEIPTS_PER_CALL);

/** A file's id, a prefix of one, or a name. */
const reference = z.string().min(1, 'must not be empty').max(MAX_FILE_NAME_BYTES, 'is longer than a name');
const fileSchema = z.object({ file: reference });
const locateSchema = z.object({ file: reference, why: z.boolean() });

const openSchema = z.object({
  name: z
    .string()
    .min(1, 'must not be empty')
    .refine((name) => Buffer.byteLength(name) <= MAX_FILE_NAME_BYTES, `must be at most ${MAX_FILE_NAME_BYTES} bytes`)
    .refine(
      (name) => !CONTROL.test(name) && !name.includes('/') && name !== '.' && name !== '..',
      'must be a plain file name',
    ),
  replicas: count.max(MAX_REPLICAS, `must be at most ${MAX_REPLICAS}`),
  expectedSize: bytes,
  explicitSizes: z.boolean().optional(),
});
const grantSchema = z.object({
  uploadId,
  count: count.max(MAX_GRANTS_PER_CALL, `must be at most ${MAX_GRANTS_PER_CALL}`),
  retry: z
    .array(z.object({ index: count, failedNodeIds: z.array(z.string().max(12)).max(64) }))
    .max(MAX_GRANTS_PER_CALL),
  receipts,
  fromIndex: count.optional(),
  sizes: z
    .array(count.min(1, 'must be at least 1').max(CHUNK_SIZE_BYTES, `must be at most ${CHUNK_SIZE_BYTES}`))
    .max(MAX_GRANTS_PER_CALL, `must be at most ${MAX_GRANTS_PER_CALL}`),
});
const commitSchema = z.object({ uploadId, size: bytes, chunksCount: count, receipts });
const lease = z
  .string()
  .regex(/^([0-9a-f]{32})?$/, 'must be a lease id')
  .transform((text) => (text === '' ? undefined : (text as LeaseId)));
const downloadSchema = z.object({
  file: reference,
  fromIndex: count,
  count: count
    .max(MAX_SOURCES_PER_PAGE, `must be at most ${MAX_SOURCES_PER_PAGE}`)
    .transform((value) => value || DEFAULT_SOURCES_PER_PAGE),
  untilIndex: count.optional(),
  leaseId: lease,
});
const findSchema = z.object({ file: reference, start: bytes, end: bytes, leaseId: lease });
const listSchema = z.object({
  pageSize: count
    .max(MAX_FILES_PER_PAGE, `must be at most ${MAX_FILES_PER_PAGE}`)
    .transform((value) => value || MAX_FILES_PER_PAGE),
  pageToken: z.string().max(64),
  statuses: z
    .array(z.enum(['ready', 'unavailable', 'partial', 'damaged', 'lost'], 'must be a status of a stored file'))
    .max(5),
});

const reportSchema = z.object({
  chunkId: z.string().refine(isChunkId, 'must be a chunk id'),
  nodeId: z.string().regex(/^[0-9a-f]{12}$/, 'must be a node id'),
});
const scrubSchema = z.object({ node: z.string().max(63), rateMb: z.number().int().max(100_000) });

type FileUpkeep = Pick<FileServiceServer, 'reportReplica' | 'scrubFiles' | 'rebalanceFiles'>;

export function fileServiceHandlers(
  files: FileUseCases,
  upkeep: Upkeep,
  registry: NodeRegistry,
  edge: Edge,
): FileServiceServer {
  const { uploads, catalogue } = files;
  return {
    ...fileUpkeepHandlers(upkeep, registry, edge),
    openUpload: unary(edge, async (request, { caller }) => {
      const { upload, file } = await uploads.open({ ...parseRequest(openSchema, request), owner: caller.user });
      return openedShape(upload, file, uploads.leaseMs);
    }),
    grantChunks: unary(edge, async (request, { caller }) => {
      const { uploadId: id, ...rest } = parseRequest(grantSchema, request);
      const grants = await uploads.grant(id, rest, scopeOf(caller));
      return { grants: grants.map((grant) => ({ ...grant, targets: grant.targets.map(targetShape) })) };
    }),
    commitUpload: unary(edge, async (request, { caller }) => {
      const { uploadId: id, ...rest } = parseRequest(commitSchema, request);
      return { file: fileShape(await files.commit(id, rest, scopeOf(caller))) };
    }),
    abortUpload: unary(edge, async (request, { caller }) => {
      await files.abort(parseRequest(z.object({ uploadId }), request).uploadId, scopeOf(caller));
      return {};
    }),
    openDownload: unary(edge, async (request, { caller }) => {
      const page = parseRequest(downloadSchema, request);
      const { file, sources } = await catalogue.sources(page.file, page.fromIndex, page.count, {
        owner: scopeOf(caller),
        lease: page.leaseId,
        holder: caller.user,
        until: page.untilIndex,
      });
      return {
        file: fileShape(file),
        chunkSize: CHUNK_SIZE_BYTES,
        chunks: sources.map(({ chunk, targets }) => ({
          index: chunk.index,
          chunkId: chunk.id,
          size: chunk.size,
          md5: chunk.md5,
          replicas: targets.map(targetShape),
          offset: BigInt(chunk.offset),
        })),
      };
    }),
    findChunks: unary(edge, async (request, { caller }) => {
      const { file, start, end, leaseId } = parseRequest(findSchema, request);
      const found = await catalogue.chunksOf(file, { start, end }, { owner: scopeOf(caller), lease: leaseId });
      return { fromIndex: found.from, untilIndex: found.until };
    }),
    listFiles: unary(edge, async (request, { caller }) => {
      const { pageSize, pageToken, statuses } = parseRequest(listSchema, request);
      const only = statuses.length === 0 ? undefined : statuses;
      const page = await catalogue.list(pageSize, pageToken, scopeOf(caller), only);
      return {
        files: page.files.map(({ file, health }) => fileShape(file, health)),
        nextPageToken: page.nextPageToken,
      };
    }),
    getFile: unary(edge, async (request, { caller }) => {
      const { file } = parseRequest(fileSchema, request);
      const found = await catalogue.stat(file, scopeOf(caller));
      return { file: fileShape(found.file, found.health) };
    }),
    locateFile: unary(edge, async (request, { caller }) => {
      const { file: reference, why } = parseRequest(locateSchema, request);
      const { file, chunks } = await catalogue.locate(reference, scopeOf(caller));
      const reasons = why ? await catalogue.reasons(chunks) : undefined;
      return { id: file.id, name: file.name, chunks: chunks.map((chunk) => locationShape(chunk, registry, reasons)) };
    }),
    removeFile: unary(edge, async (request, { caller }) => {
      const { id, name } = await files.remove(parseRequest(fileSchema, request).file, scopeOf(caller));
      return { id, name };
    }),
  };
}

/** Reports of bad copies, scrub and rebalance. */
function fileUpkeepHandlers(upkeep: Upkeep, registry: NodeRegistry, edge: Edge): FileUpkeep {
  return {
    reportReplica: unary(edge, (request) => {
      const { chunkId, nodeId } = parseRequest(reportSchema, request);
      upkeep.suspicions.raise(chunkId, nodeId as NodeId);
      return Promise.resolve({});
    }),
    scrubFiles: serverStream(edge, async (request, { signal, send }) => {
      const { node, rateMb } = parseRequest(scrubSchema, request);
      await upkeep.scrub.run({
        node: node === '' ? undefined : registry.resolve(node).id,
        rate: rateMb * MIB,
        signal,
        tell: ({ checkedChunks, checkedBytes, bad, ...rest }) =>
          send({
            ...rest,
            checkedChunks: BigInt(checkedChunks),
            checkedBytes: BigInt(checkedBytes),
            bad: BigInt(bad),
          }),
      });
    }),
    rebalanceFiles: serverStream(edge, async (_request, { signal, send }) => {
      await upkeep.rebalance.run(signal, ({ movedChunks, movedBytes, ...rest }) =>
        send({ ...rest, movedChunks: BigInt(movedChunks), movedBytes: BigInt(movedBytes) }),
      );
    }),
  };
}

const targetShape = (target: ChunkTarget): ChunkTarget => ({ ...target });

const locationShape = (
  chunk: ChunkRecord,
  registry: NodeRegistry,
  reasons: ReadonlyMap<string, string> | undefined,
): ChunkLocation => ({
  index: chunk.index,
  size: chunk.size,
  md5: chunk.md5,
  chunkId: chunk.id,
  replicas: chunk.replicas.map(({ nodeId, state }) => ({
    nodeId,
    state,
    node: registry.get(nodeId)?.name ?? nodeId,
    reason: reasons?.get(`${chunk.id}@${nodeId}`) ?? '',
  })),
});

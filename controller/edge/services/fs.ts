/** FsService: validates requests, calls use cases, converts entries. */
import { z } from 'zod';
import { inCommandWords } from '../../../shared/advice/command-words.js';
import { NexusError, toNexusError } from '../../../shared/errors.js';
import type {
  ChunkPack,
  Failure,
  FsEntry,
  FsServiceServer,
  GetQuotaResponse,
  OpenedSmallFile,
} from '../../../shared/gen/nexus/v1/fs.js';
import type { LeaseId, UploadId } from '../../../shared/ids.js';
import {
  KIB,
  MAX_NAME_BYTES,
  MAX_PACK_BYTES,
  MAX_PACKED_FILE_BYTES,
  MAX_PACKED_FILES,
  MAX_PATH_BYTES,
  MAX_REPLICAS,
  MIB,
} from '../../../shared/limits.js';
import { USER_NAME_PATTERN } from '../../../shared/users.js';
import { afterCommit } from '../../file/after-commit.js';
import type { FileHealth } from '../../file/health.js';
import { parseOwnPath, parsePath } from '../../vfs/path.js';
import type { OpenedPacks } from '../../vfs/small-files.js';
import type { PackedUpload } from '../../store/port/store.js';
import type { FsUseCases, PlacedEntry, QuotaView } from '../../vfs/use-cases.js';
import type { Caller, Edge } from '../admission.js';
import { serverStream, unary } from '../handlers.js';
import { fileShape, openedShape } from '../shapes.js';
import { parseRequest } from '../validate.js';

const MAX_ENTRIES_PER_PAGE = 1000;
/** Stays below gRPC's limit of 4 MiB for a message. */
const MAX_PAGE_BYTES = 3 * MIB;
/** Estimated size of an entry in a message, besides its name and path. */
const ENTRY_BYTES = 256;
const MAX_DEPTH = 4096;
/** Lists the chunks of the largest pack. */
const MAX_PACK_RECEIPT_BYTES = 32 * KIB;
const MAX_QUOTA_BYTES = 2 ** 50;

const integer = z.number().int().min(0);
const userName = z.string().regex(USER_NAME_PATTERN, 'must be a user name');

const listSchema = z.object({
  path: z.string(),
  pageSize: integer
    .max(MAX_ENTRIES_PER_PAGE, `must be at most ${MAX_ENTRIES_PER_PAGE}`)
    .transform((value) => value || MAX_ENTRIES_PER_PAGE),
  // A name, as base64url: the last one of the previous page.
  pageToken: z
    .string()
    .max(2 * MAX_NAME_BYTES)
    .regex(/^[A-Za-z0-9_-]*$/, 'must be from the page before'),
});
const walkSchema = z.object({ path: z.string(), maxDepth: integer.max(MAX_DEPTH, `must be at most ${MAX_DEPTH}`) });
const uploadSchema = z.object({
  path: z.string(),
  overwrite: z.boolean(),
  parents: z.boolean(),
  replicas: integer.max(MAX_REPLICAS, `must be at most ${MAX_REPLICAS}`),
  expectedSize: z
    .bigint()
    .refine((value) => value <= BigInt(Number.MAX_SAFE_INTEGER), 'is too large')
    .transform(Number),
  explicitSizes: z.boolean().optional(),
});
const uploadId = z
  .string()
  .regex(/^[0-9a-f]{32}$/, 'must be an upload id')
  .transform((text) => text as UploadId);
const placeSchema = z.object({
  uploadId,
  path: z.string(),
  overwrite: z.boolean(),
  parents: z.boolean(),
});
const packSchema = z.object({
  files: z
    .array(z.object({ path: z.string(), size: integer.max(MAX_PACKED_FILE_BYTES, 'is too large for a small file') }))
    .min(1, 'names no file')
    .max(MAX_PACKED_FILES, `must have at most ${MAX_PACKED_FILES}`)
    .refine((files) => files.reduce((sum, { size }) => sum + size, 0) <= MAX_PACK_BYTES, 'are too large in all'),
  overwrite: z.boolean(),
  replicas: integer.max(MAX_REPLICAS, `must be at most ${MAX_REPLICAS}`),
});
const commitPackSchema = z.object({
  uploadIds: z
    .array(uploadId)
    .min(1, 'names no upload')
    .max(MAX_PACKED_FILES)
    .refine((ids) => new Set(ids).size === ids.length, 'names one twice'),
  receipts: z.array(z.string().max(MAX_PACK_RECEIPT_BYTES)).max(MAX_PACKED_FILES * MAX_REPLICAS),
  folder: z.string().max(MAX_PATH_BYTES),
});
const leaseSchema = z.object({
  leaseId: z
    .string()
    .regex(/^[0-9a-f]{32}$/, 'must be a lease id')
    .transform((text) => text as LeaseId),
});
const quotaSchema = z.object({ recount: z.boolean(), username: z.union([userName, z.literal('')]) });
const setQuotaSchema = z.object({
  username: userName,
  limit: z
    .bigint()
    .refine((value) => value <= BigInt(MAX_QUOTA_BYTES), `must be at most ${MAX_QUOTA_BYTES} bytes`)
    .transform(Number),
});

/** `hasUser`: whether an account of that name exists. */
export function fsServiceHandlers(
  fs: FsUseCases,
  hasUser: (name: string) => Promise<boolean>,
  edge: Edge,
): FsServiceServer {
  const shown = async (placed: readonly PlacedEntry[]): Promise<FsEntry[]> => {
    const health = await fs.health(placed);
    return placed.map((one, at) => entryShape(one, health[at]));
  };
  const shownOne = async (placed: PlacedEntry): Promise<FsEntry | undefined> => (await shown([placed]))[0];
  return {
    makeFolder: unary(edge, async ({ path, parents }, { caller }) => {
      // `mkdir -p /` succeeds: the folder exists.
      const names = parents ? parsePath(path) : parseOwnPath(path);
      const made =
        names.length === 0 ? await fs.stat(caller.user, names) : await fs.makeFolder(caller.user, names, parents);
      return { entry: await shownOne(made) };
    }),
    listFolder: unary(edge, async (request, { caller }) => {
      const { path, pageSize: limit, pageToken } = parseRequest(listSchema, request);
      const after = Buffer.from(pageToken, 'base64url').toString('utf8');
      const entries = await fs.list(caller.user, parsePath(path), { after, limit });
      const fitting = withinOneMessage(await shown(entries));
      const last = fitting.length < entries.length || entries.length === limit ? fitting.at(-1) : undefined;
      return {
        entries: fitting,
        nextPageToken: last === undefined ? '' : Buffer.from(last.name).toString('base64url'),
      };
    }),
    walkFolder: serverStream(edge, async (request, { caller, signal, send }) => {
      const { path, maxDepth } = parseRequest(walkSchema, request);
      for await (const entries of fs.walk(caller.user, parsePath(path), maxDepth)) {
        signal.throwIfAborted();
        await send({ entries: await shown(entries) });
      }
    }),
    statEntry: unary(edge, async ({ path }, { caller }) => ({
      entry: await shownOne(await fs.stat(caller.user, parsePath(path))),
    })),
    getFolderUsage: unary(edge, async ({ path }, { caller }) => {
      const names = parsePath(path);
      const { files, folders, bytes } = await fs.usage(caller.user, names);
      const sums = { files: BigInt(files), folders: BigInt(folders), bytes: BigInt(bytes) };
      return { path: `/${names.join('/')}`, ...sums };
    }),
    openFsUpload: unary(edge, async (request, { caller }) => {
      const { path, ...rest } = parseRequest(uploadSchema, request);
      const names = path === '' ? undefined : parseOwnPath(path);
      const { upload, file } = await fs.openUpload(caller.user, names, rest);
      return openedShape(upload, file, fs.uploads.leaseMs);
    }),
    openFsUploads: unary(edge, async (request, { caller }) => {
      const { files, ...options } = parseRequest(packSchema, request);
      // A path that is none fails by itself.
      const asked = files.map(({ path, size }) => outcomeOf(() => ({ path: parseOwnPath(path), size })));
      const { files: opened, packs } = await fs.small.open(caller.user, asked, options);
      return { files: opened.map(openedSmallShape), packs: packs.map(packShape), leaseMs: fs.uploads.leaseMs };
    }),
    commitFsUploads: unary(edge, async (request, { caller }) => {
      const { uploadIds, receipts, folder } = parseRequest(commitPackSchema, request);
      const outcomes = await fs.small.commit(caller.user, uploadIds, receipts, folder);
      return {
        files: outcomes.map((outcome) =>
          outcome instanceof NexusError
            ? { file: undefined, failure: failureShape(outcome) }
            : { file: fileShape(outcome.file), failure: undefined },
        ),
      };
    }),
    placeFsUpload: unary(edge, async (request, { caller }) => {
      const { uploadId, path, ...rest } = parseRequest(placeSchema, request);
      await fs.placeUpload(caller.user, uploadId, parseOwnPath(path), rest);
      return {};
    }),
    openFsDownload: unary(edge, async ({ path }, { caller }) => {
      const { file, lease, ...placed } = await fs.openDownload(caller.user, parseOwnPath(path));
      return { entry: await shownOne(placed), file: fileShape(file), leaseId: lease };
    }),
    closeFsDownload: unary(edge, (request, { caller }) => {
      fs.closeDownload(caller.user, parseRequest(leaseSchema, request).leaseId);
      return Promise.resolve({});
    }),
    moveEntry: unary(edge, async ({ from, to, overwrite }, { caller }) => {
      const moved = await fs.move(caller.user, parseOwnPath(from, 'from'), parseOwnPath(to, 'to'), overwrite);
      const shown = await afterCommit(edge.log, 'look at the copies of a moved file', () => shownOne(moved));
      return { entry: shown ?? entryShape(moved) };
    }),
    removeEntry: unary(edge, async ({ path, recursive }, { caller }) => {
      const { files, folders, bytes } = await fs.remove(caller.user, parseOwnPath(path), recursive);
      return { files: BigInt(files), folders: BigInt(folders), bytes: BigInt(bytes) };
    }),
    getQuota: unary(edge, async (request, { caller }) => {
      const { recount, username } = parseRequest(quotaSchema, request);
      return quotaShape(await fs.quota(await whose(caller, username, hasUser), recount));
    }),
    setQuota: unary(edge, async (request) => {
      const { username, limit } = parseRequest(setQuotaSchema, request);
      await assertUser(username, hasUser);
      const { user, limit: set } = await fs.setQuota(username, limit);
      return { username: user, limit: BigInt(set) };
    }),
  };
}

/** Ends a page of long paths early, so that it fits into a message. */
function withinOneMessage(entries: readonly FsEntry[]): FsEntry[] {
  let bytes = 0;
  const end = entries.findIndex((entry) => {
    bytes += Buffer.byteLength(entry.path) + Buffer.byteLength(entry.name) + ENTRY_BYTES;
    return bytes > MAX_PAGE_BYTES;
  });
  return end === -1 ? [...entries] : entries.slice(0, Math.max(1, end));
}

/** Codes: permission_denied, not_found. */
async function whose(caller: Caller, username: string, hasUser: (name: string) => Promise<boolean>): Promise<string> {
  if (username === '' || username === caller.user) return caller.user;
  if (!caller.isAdministrator) {
    throw new NexusError('permission_denied', "only administrators may see another user's quota");
  }
  await assertUser(username, hasUser);
  return username;
}

async function assertUser(name: string, hasUser: (name: string) => Promise<boolean>): Promise<void> {
  if (await hasUser(name)) return;
  throw new NexusError(
    'not_found',
    `there is no user "${name}"`,
    { field: 'username' },
    { advice: { key: 'list-users' } },
  );
}

const entryShape = ({ entry, path }: PlacedEntry, status: FileHealth = 'ready'): FsEntry => ({
  name: entry.name,
  path,
  type: entry.type,
  size: BigInt(entry.size),
  createdAt: new Date(entry.createdAt).toISOString(),
  modifiedAt: new Date(entry.modifiedAt).toISOString(),
  fileId: entry.fileId ?? '',
  status,
});

function outcomeOf<Result>(work: () => Result): Result | NexusError {
  try {
    return work();
  } catch (error) {
    return toNexusError(error);
  }
}

const failureShape = (error: NexusError): Failure => ({
  code: error.code,
  message: inCommandWords(error),
  details: JSON.stringify(error.details),
});

const openedSmallShape = (opened: PackedUpload | NexusError): OpenedSmallFile =>
  opened instanceof NexusError
    ? { uploadId: '', fileId: '', chunkId: '', failure: failureShape(opened) }
    : {
        uploadId: opened.upload.id,
        fileId: opened.file.id,
        chunkId: opened.chunk?.id ?? '',
        failure: undefined,
      };

const packShape = ({ files, target }: OpenedPacks['packs'][number]): ChunkPack => ({
  files: [...files],
  target: { ...target },
});

const quotaShape = ({ user, limit, used, reserved, recounted }: QuotaView): GetQuotaResponse => ({
  username: user,
  limit: BigInt(limit),
  used: BigInt(used),
  reserved: BigInt(reserved),
  recountedUsed: BigInt(recounted?.used ?? 0),
  recountedReserved: BigInt(recounted?.reserved ?? 0),
});

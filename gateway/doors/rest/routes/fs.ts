/** The caller's own tree of folders and files. */
import { posix } from 'node:path';
import { z } from 'zod';
import { NexusError } from '../../../../shared/errors.js';
import type { FsEntry } from '../../../../shared/gen/nexus/v1/fs.js';
import { entryShape, fileShape, plainShape } from '../../../../shared/rpc/shapes.js';
import { SLOW_DEADLINE_MS } from '../../../controller/controller.js';
import { failed, isOnlyIfNew } from '../../../http/conditions.js';
import { sendContent } from '../download.js';
import { binary, flag, pageSize, pageToken, path, replicas } from '../fields.js';
import { route, type Route } from '../../../http/route.js';
import { entrySchema, pathMessageSchema, quotaSchema, removalSchema, storedSchema } from '../schemas.js';
import { receiveUpload } from '../upload.js';

/** As the controller stores it: `.` and `..` resolve, and nothing leads above the topmost folder. */
const resolved = (given: string): string => posix.normalize(given.normalize('NFC')).replace(/(.)\/$/, '$1');

const tag = 'file system';

const uploadFields = z.strictObject({
  path: path.describe('absolute path of the file itself'),
  overwrite: flag.describe('replace an existing file'),
  parents: flag.describe('make missing folders above it'),
  replicas,
});

export const fsRoutes: readonly Route[] = [
  route({
    method: 'post',
    path: '/api/fs/upload',
    tag,
    summary: 'Store a file: multipart with `path` and `file` in either order, or its bytes as the body with ?path=',
    conditions: 'if new',
    query: uploadFields.partial(),
    upload: uploadFields.extend({ file: binary }),
    answers: { 200: { description: 'the file', schema: storedSchema } },
    handle: async (input) => {
      const mustBeNew = isOnlyIfNew(input.koa);
      let placed = '';
      const options = (given: { overwrite?: boolean | undefined; parents?: boolean | undefined }) => ({
        overwrite: !mustBeNew && (given.overwrite ?? false),
        parents: given.parents ?? false,
      });
      const file = await receiveUpload(input, {
        fields: uploadFields,
        target: (known) => {
          placed = known.path ?? '';
          return { kind: 'path', path: placed, ...options(known), replicas: known.replicas ?? 0 };
        },
        placement: (fields) => {
          if (placed !== '') return undefined;
          placed = fields.path;
          return { path: placed, ...options(fields) };
        },
      }).catch((error: unknown) => {
        throw mustBeNew && isThere(error) ? failed('if-none-match', 'a file is there already') : error;
      });
      return { body: { ...fileShape(file), path: resolved(placed) } };
    },
  }),
  route({
    method: 'get',
    path: '/api/fs/download',
    tag,
    summary: 'The bytes of a file; Range, conditions (If-Match, If-None-Match, ...) and HEAD work',
    conditions: 'evaluated',
    query: z.strictObject({ path }),
    answers: { 200: { description: 'the bytes', type: 'application/octet-stream' } },
    handle: async (input) => {
      await sendContent(input, { kind: 'path', path: input.query.path });
      return undefined;
    },
  }),
  route({
    method: 'post',
    path: '/api/fs/mkdir',
    tag,
    summary: 'Make a folder',
    body: z.strictObject({ path, parents: z.boolean().optional().describe('make missing parents') }),
    answers: { 200: { description: 'made', schema: pathMessageSchema } },
    handle: async ({ session, body }) => {
      const request = { path: body.path, parents: body.parents ?? false };
      const { entry } = await session.call(session.fs.makeFolder, request);
      return { body: { message: 'made', path: expectEntry(entry).path } };
    },
  }),
  route({
    method: 'get',
    path: '/api/fs/ls',
    tag,
    summary: 'A folder’s entries by name, a page at a time; X-Next-Page-Token has the token of the next page',
    query: z.strictObject({ path: path.optional(), page_size: pageSize, page_token: pageToken }),
    answers: { 200: { description: 'the entries; of a file its own', schema: z.array(entrySchema) } },
    handle: async ({ session, query }) => {
      const request = {
        path: query.path ?? '/',
        pageSize: query.page_size ?? 0,
        pageToken: query.page_token ?? '',
      };
      const { entries, nextPageToken } = await session.call(session.fs.listFolder, request);
      const headers: Record<string, string> = nextPageToken === '' ? {} : { 'X-Next-Page-Token': nextPageToken };
      return { body: entries.map(entryShape), headers };
    },
  }),
  route({
    method: 'get',
    path: '/api/fs/stat',
    tag,
    summary: 'One entry',
    query: z.strictObject({ path }),
    answers: { 200: { description: 'the entry', schema: entrySchema } },
    handle: async ({ session, query }) => {
      const { entry } = await session.call(session.fs.statEntry, query);
      return { body: entryShape(expectEntry(entry)) };
    },
  }),
  route({
    method: 'delete',
    path: '/api/fs/delete',
    tag,
    summary: 'Remove a file or a folder',
    query: z.strictObject({ path, recursive: flag.describe('needed for a folder that is not empty') }),
    answers: { 200: { description: 'what was removed', schema: removalSchema } },
    handle: async ({ session, query }) => {
      const request = { path: query.path, recursive: query.recursive ?? false };
      const removed = await session.call(session.fs.removeEntry, request, SLOW_DEADLINE_MS);
      return { body: { message: 'removed', ...plainShape(removed) } };
    },
  }),
  route({
    method: 'post',
    path: '/api/fs/move',
    tag,
    summary: 'Move or rename a file or a folder',
    body: z.strictObject({
      old_path: path,
      new_path: path.describe('the new path itself, not a folder to put it into'),
      overwrite: z.boolean().optional().describe('replace an existing file'),
    }),
    answers: { 200: { description: 'moved', schema: pathMessageSchema } },
    handle: async ({ session, body }) => {
      const request = { from: body.old_path, to: body.new_path, overwrite: body.overwrite ?? false };
      const { entry } = await session.call(session.fs.moveEntry, request).catch((error: unknown) => {
        throw renamed(error);
      });
      return { body: { message: 'moved', path: expectEntry(entry).path } };
    },
  }),
  route({
    method: 'get',
    path: '/api/fs/quota',
    tag,
    summary: 'Your quota, the bytes used, and those reserved for uploads',
    answers: { 200: { description: 'bytes', schema: quotaSchema } },
    handle: async ({ session }) => {
      const request = { recount: false, username: '' };
      const { username, limit, used, reserved } = await session.call(session.fs.getQuota, request);
      return { body: plainShape({ username, limit, used, reserved }) };
    },
  }),
];

const isThere = (error: unknown): boolean => error instanceof NexusError && error.code === 'already_exists';

function expectEntry(entry: FsEntry | undefined): FsEntry {
  if (entry === undefined) throw new NexusError('internal', 'the controller answered without an entry');
  return entry;
}

const FIELDS: Readonly<Record<string, string>> = { from: 'old_path', to: 'new_path' };

/** The controller knows the fields of a move by other names. */
function renamed(thrown: unknown): unknown {
  if (!(thrown instanceof NexusError)) return thrown;
  const { field, problem } = thrown.details;
  const known = typeof field === 'string' ? FIELDS[field] : undefined;
  if (known === undefined || typeof problem !== 'string') return thrown;
  return new NexusError(thrown.code, `${known}: ${problem}`, { ...thrown.details, field: known });
}

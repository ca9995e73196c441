/** Raw files: sequences of bytes by id. */
import { z } from 'zod';
import { NexusError } from '../../shared/errors.js';
import { fileShape, plainShape } from '../../shared/rpc/shapes.js';
import { fileReference, pageSize, pageToken } from '../fields.js';
import { route, type Route } from '../route.js';
import { fileSchema, removedFileSchema } from '../schemas.js';

const tag = 'files';
const params = z.strictObject({ id: fileReference });

export const fileRoutes: readonly Route[] = [
  route({
    method: 'get',
    path: '/api/files',
    tag,
    summary: 'One’s own files, a page at a time; X-Next-Page-Token has what to ask for next',
    query: z.strictObject({ page_size: pageSize, page_token: pageToken }),
    answers: { 200: { description: 'the files', schema: z.array(fileSchema) } },
    handle: async ({ session, query }) => {
      const request = { pageSize: query.page_size ?? 0, pageToken: query.page_token ?? '' };
      const { files, nextPageToken } = await session.call(session.file, session.file.listFiles, request);
      return { body: files.map(fileShape), headers: nextPage(nextPageToken) };
    },
  }),
  route({
    method: 'get',
    path: '/api/files/:id',
    tag,
    summary: 'One file',
    params,
    answers: { 200: { description: 'the file', schema: fileSchema } },
    handle: async ({ session, params: { id } }) => {
      const { file } = await session.call(session.file, session.file.getFile, { file: id });
      if (file === undefined) throw new NexusError('internal', 'the controller answered without a file');
      return { body: fileShape(file) };
    },
  }),
  route({
    method: 'delete',
    path: '/api/files/:id',
    tag,
    summary: 'Remove a file',
    params,
    answers: { 200: { description: 'what was removed', schema: removedFileSchema } },
    handle: async ({ session, params: { id } }) => ({
      body: plainShape(await session.call(session.file, session.file.removeFile, { file: id })),
    }),
  }),
];

const nextPage = (token: string): Record<string, string> => (token === '' ? {} : { 'X-Next-Page-Token': token });

/** Raw files: sequences of bytes by id. */
import { z } from 'zod';
import { fileShape, plainShape } from '../../../../shared/rpc/shapes.js';
import { expectFile } from '../../../../shared/rpc/file-catalogue.js';
import { sendContent } from '../download.js';
import { binary, fileReference, pageSize, pageToken, replicas } from '../fields.js';
import { invalid } from '../../../http/http-error.js';
import { route, type Route } from '../../../http/route.js';
import { fileSchema, HEALTH, removedFileSchema } from '../schemas.js';
import { receiveUpload } from '../upload.js';

const tag = 'files';
const params = z.strictObject({ id: fileReference });

const uploadQuery = z.strictObject({
  name: z.string().max(1024).optional().describe('what the file is called, where the body has no name'),
  replicas,
});

/** Comma-separated, as query parameters can't be lists. */
const statuses = z
  .string()
  .max(100)
  .transform((text) => text.split(','))
  .pipe(z.array(z.enum(HEALTH, `must be ${HEALTH.join(', ')}, or several of them with commas`)))
  .optional()
  .describe(
    `only files of these statuses, e.g. damaged,lost; a page may then hold none and still have X-Next-Page-Token`,
  );

export const fileRoutes: readonly Route[] = [
  route({
    method: 'post',
    path: '/api/files/upload',
    tag,
    summary: 'Store a file: multipart with a part `file`, or its bytes as the body with ?name=',
    query: uploadQuery,
    upload: uploadQuery.extend({ file: binary }),
    answers: { 200: { description: 'the file', schema: fileSchema } },
    handle: async (input) => {
      const file = await receiveUpload(input, {
        fields: uploadQuery,
        target: (known, name) => {
          const given = known.name ?? name;
          if (given === undefined) throw invalid('name', 'is missing: ?name= says what the file is called');
          return { kind: 'file', name: given, replicas: known.replicas ?? 0 };
        },
        placement: () => undefined,
      });
      return { body: fileShape(file) };
    },
  }),
  route({
    method: 'get',
    path: '/api/files',
    tag,
    summary: 'Your own files, a page at a time; X-Next-Page-Token has the token of the next page',
    query: z.strictObject({ page_size: pageSize, page_token: pageToken, status: statuses }),
    answers: { 200: { description: 'the files', schema: z.array(fileSchema) } },
    handle: async ({ session, query }) => {
      const request = {
        pageSize: query.page_size ?? 0,
        pageToken: query.page_token ?? '',
        statuses: query.status ?? [],
      };
      const { files, nextPageToken } = await session.call(session.file.listFiles, request);
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
      const { file } = await session.call(session.file.getFile, { file: id });
      return { body: fileShape(expectFile(file)) };
    },
  }),
  route({
    method: 'get',
    path: '/api/files/:id/download',
    tag,
    summary: 'The bytes of a file; Range, conditions (If-Match, If-None-Match, ...) and HEAD work',
    conditions: 'evaluated',
    params,
    answers: { 200: { description: 'the bytes', type: 'application/octet-stream' } },
    handle: async (input) => {
      await sendContent(input, { kind: 'file', id: input.params.id });
      return undefined;
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
      body: plainShape(await session.call(session.file.removeFile, { file: id })),
    }),
  }),
];

const nextPage = (token: string): Record<string, string> => (token === '' ? {} : { 'X-Next-Page-Token': token });

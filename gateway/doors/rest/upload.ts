/**
 * Streams an upload from the client to the nodes, with a few chunks in memory and nothing on disk. The body is either
 * the bytes themselves or multipart with one file, whose fields may come before or after it.
 */
import type { IncomingMessage } from 'node:http';
import type { z } from 'zod';
import type { File } from '../../../shared/gen/nexus/v1/file.js';
import { patiently, uploadSteps } from '../../../shared/rpc/file-catalogue.js';
import type { OpenedUpload, UploadCatalogue } from '../../../shared/transfer/port.js';
import { streamSource } from '../../../shared/transfer/source.js';
import { uploadFile } from '../../../shared/transfer/upload.js';
import { incomingBytes, type BodyLimits } from '../../http/body.js';
import { Digests } from '../../http/digests.js';
import { invalid, tooLarge } from '../../http/http-error.js';
import { parseInput } from '../../http/input.js';
import { Multipart } from './multipart.js';
import type { Session } from '../../controller/controller.js';
import type { Input } from '../../http/route.js';

export interface UploadKind<Fields extends z.ZodObject> {
  /** Fields that may come in the query or in the multipart body. */
  readonly fields: Fields;
  /**
   * Opens the upload with the fields known by now; `name` is the client's own name for the file, `size` its exact size
   * or 0.
   */
  readonly open: (
    known: Partial<z.infer<Fields>>,
    file: { readonly name: string | undefined; readonly size: number },
  ) => Promise<OpenedUpload>;
  /** Called when all fields are known, before the commit. */
  readonly complete: (uploadId: string, fields: z.infer<Fields>) => Promise<void>;
}

type AnyInput = Input<unknown, unknown, unknown>;

export async function receiveUpload<Fields extends z.ZodObject>(
  input: AnyInput,
  kind: UploadKind<Fields>,
): Promise<File> {
  const { koa, limits, session, turns } = input;
  const length = Number(koa.req.headers['content-length'] ?? 0);
  if (limits.maxUploadBytes !== 0 && length > limits.maxUploadBytes) throw tooLarge('body', limits.maxUploadBytes);
  const { username } = await session.call(session.identity.whoAmI, {});
  const isMultipart = koa.is('multipart/form-data') === 'multipart/form-data';
  return await turns.take(username, session.signal, () =>
    isMultipart ? multipart(input, kind, length) : raw(input, kind, length),
  );
}

async function raw<Fields extends z.ZodObject>(
  { koa, limits, session }: AnyInput,
  { fields, open, complete }: UploadKind<Fields>,
  length: number,
): Promise<File> {
  const given = parseInput(fields, { ...koa.query });
  const catalogue = uploadCatalogue(session, {
    open: () => open(given, { name: undefined, size: length }),
    beforeCommit: (uploadId) => complete(uploadId, given),
  });
  const source = streamSource(bodyOf(koa.req, limits));
  return await uploadFile(catalogue, { ...sizes(length), source, signal: session.signal });
}

async function multipart<Fields extends z.ZodObject>(
  { koa, limits, session }: AnyInput,
  { fields, open, complete }: UploadKind<Fields>,
  length: number,
): Promise<File> {
  const body = new Multipart(koa.req.headers, bodyOf(koa.req, limits));
  const file = await body.file;
  const withQuery = (given: Readonly<Record<string, string>>): unknown => {
    const twice = Object.keys(given).find((name) => Object.hasOwn(koa.query, name));
    if (twice !== undefined) throw invalid(twice, 'must be given once: in the query or in the body');
    return { ...koa.query, ...given };
  };
  const catalogue = uploadCatalogue(session, {
    open: () =>
      open(
        parseInput(fields.partial() as unknown as z.ZodType<Partial<z.infer<Fields>>>, withQuery(file.fieldsBefore)),
        {
          name: file.name,
          size: 0,
        },
      ),
    beforeCommit: async (uploadId) => {
      await body.end;
      await complete(uploadId, parseInput(fields, withQuery(body.fields)));
    },
  });
  // The body is slightly longer than the file: close enough to estimate the number of chunks.
  const source = streamSource(file.stream);
  try {
    return await uploadFile(catalogue, { ...sizes(length), source, signal: session.signal });
  } catch (error) {
    // If the body is at fault, its own error says more than the parser's, which the file's reader received.
    throw body.failure ?? error;
  }
}

/** Reads the body; throws at its end if it does not match its integrity headers. */
function bodyOf(request: IncomingMessage, limits: BodyLimits): AsyncIterable<Buffer> {
  const body = incomingBytes(request, limits);
  return Digests.of(request.headers)?.through(body) ?? body;
}

interface UploadEnds {
  readonly open: () => Promise<OpenedUpload>;
  /** Runs before the file becomes visible. */
  readonly beforeCommit: (uploadId: string) => Promise<void>;
}

function uploadCatalogue(session: Session, { open, beforeCommit }: UploadEnds): UploadCatalogue<File> {
  const steps = uploadSteps(session);
  return {
    ...steps,
    openUpload: open,
    commitUpload: async (uploadId, request) => {
      await patiently(() => beforeCommit(uploadId));
      return await steps.commitUpload(uploadId, request);
    },
  };
}

/** A client can't send more than it announces; without an announced length there is no bound. */
const sizes = (length: number) => ({
  // The catalogue knows these two itself.
  name: '',
  replicas: 0,
  expectedSize: length,
  ...(length === 0 ? {} : { atMostBytes: length }),
});

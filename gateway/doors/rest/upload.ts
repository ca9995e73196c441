/**
 * Reads an upload for the transfer core. The body is either the bytes themselves or multipart with one file, whose
 * fields may come before or after it.
 */
import type { IncomingMessage } from 'node:http';
import type { z } from 'zod';
import type { File } from '../../../shared/gen/nexus/v1/file.js';
import { incomingBytes, type BodyLimits } from '../../http/body.js';
import { Digests } from '../../http/digests.js';
import { invalid, tooLarge } from '../../http/http-error.js';
import { parseInput } from '../../http/input.js';
import type { Input } from '../../http/route.js';
import type { Identity, Placement, ReceiveOptions, Target } from '../../transfer/port.js';
import { identify } from './identity.js';
import { Multipart } from './multipart.js';

export interface UploadKind<Fields extends z.ZodObject> {
  /** Fields that may come in the query or in the multipart body. */
  readonly fields: Fields;
  /** What the bytes become, by the fields known by now; `name` is the client's own name for the file. */
  readonly target: (known: Partial<z.infer<Fields>>, name: string | undefined) => Target;
  /** Where the file belongs, by all fields, if the target has no place yet. */
  readonly placement: (fields: z.infer<Fields>) => Placement | undefined;
}

type AnyInput = Input<unknown, unknown, unknown>;

export async function receiveUpload<Fields extends z.ZodObject>(
  input: AnyInput,
  kind: UploadKind<Fields>,
): Promise<File> {
  const { koa, limits } = input;
  const length = Number(koa.req.headers['content-length'] ?? 0);
  if (limits.maxUploadBytes !== 0 && length > limits.maxUploadBytes) throw tooLarge('body', limits.maxUploadBytes);
  const identity = await identify(input);
  const isMultipart = koa.is('multipart/form-data') === 'multipart/form-data';
  return await (isMultipart ? multipart : raw)(input, kind, identity, length);
}

async function raw<Fields extends z.ZodObject>(
  { koa, limits, session, transfers }: AnyInput,
  { fields, target, placement }: UploadKind<Fields>,
  identity: Identity,
  length: number,
): Promise<File> {
  const given = parseInput(fields, { ...koa.query });
  return await transfers.receive(bodyOf(koa.req, limits), identity, {
    target: () => target(given, undefined),
    placement: () => Promise.resolve(placement(given)),
    sizeBytes: length,
    atMostBytes: length,
    signal: session.signal,
  });
}

async function multipart<Fields extends z.ZodObject>(
  { koa, limits, session, transfers }: AnyInput,
  { fields, target, placement }: UploadKind<Fields>,
  identity: Identity,
  length: number,
): Promise<File> {
  let begun: Multipart | undefined;
  // Nothing is read before the transfer has its turn.
  const body = (): Multipart => (begun ??= new Multipart(koa.req.headers, bodyOf(koa.req, limits)));
  const withQuery = (given: Readonly<Record<string, string>>): unknown => {
    const twice = Object.keys(given).find((name) => Object.hasOwn(koa.query, name));
    if (twice !== undefined) throw invalid(twice, 'must be given once: in the query or in the body');
    return { ...koa.query, ...given };
  };
  const known = fields.partial() as unknown as z.ZodType<Partial<z.infer<Fields>>>;
  const options: ReceiveOptions = {
    target: async () => {
      const { name, fieldsBefore } = await body().file;
      return target(parseInput(known, withQuery(fieldsBefore)), name);
    },
    placement: async () => {
      await body().end;
      return placement(parseInput(fields, withQuery(body().fields)));
    },
    sizeBytes: 0,
    // The body is slightly longer than the file: close enough to estimate the number of chunks.
    atMostBytes: length,
    signal: session.signal,
  };
  try {
    return await transfers.receive(fileIn(body), identity, options);
  } catch (error) {
    // If the body is at fault, its own error says more than the parser's, which the file's reader received.
    throw begun?.failure ?? error;
  }
}

async function* fileIn(body: () => Multipart): AsyncGenerator<Buffer> {
  const { stream } = await body().file;
  yield* stream as AsyncIterable<Buffer>;
}

/** Reads the body; throws at its end if it does not match its integrity headers. */
function bodyOf(request: IncomingMessage, limits: BodyLimits): AsyncIterable<Buffer> {
  const body = incomingBytes(request, limits);
  return Digests.of(request.headers)?.through(body) ?? body;
}

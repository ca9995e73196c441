/** ImageService. An import is a client stream that flows straight into tar. */
import { Readable } from 'node:stream';
import type { ServerReadableStream, sendUnaryData } from '@grpc/grpc-js';
import { NexusError } from '../../../shared/errors.js';
import type {
  Image,
  ImageServiceServer,
  ImportImageRequest,
  ImportImageResponse,
} from '../../../shared/gen/nexus/v1/image.js';
import { statusOf } from '../../../shared/rpc/status.js';
import { BASE_IMAGE, type ImageRecord, type ImageStore } from '../../image/port.js';
import type { Images } from '../../image/use-cases.js';
import type { Edge } from '../admission.js';
import { admitted, serverStream, unary } from '../handlers.js';

export function imageServiceHandlers(images: Images, edge: Edge): ImageServiceServer {
  const shape = (record: ImageRecord): Image => ({
    name: record.name,
    sizeBytes: BigInt(record.sizeBytes),
    createdAt: new Date(record.createdAt).toISOString(),
    os: record.os,
    leftOut: record.leftOut ?? '',
    problem: record.problem ?? '',
    nodes: images.usersOf(record.name).length,
  });
  return {
    listImages: unary(edge, async () => ({ images: (await images.list()).map(shape) })),
    importImage: (
      call: ServerReadableStream<ImportImageRequest, ImportImageResponse>,
      callback: sendUnaryData<ImportImageResponse>,
    ) => {
      admitted(
        edge,
        call,
        () => importFrom(call, images.store),
        (record) => {
          callback(null, { image: shape(record) });
        },
        (error) => {
          callback(statusOf(error));
        },
      );
    },
    buildImage: serverStream(edge, async ({ name }, { signal, send }) => {
      const lines: Promise<void>[] = [];
      const record = await images.store.build(name || BASE_IMAGE, (progress) => lines.push(send({ progress })), signal);
      await Promise.all(lines);
      await send({ image: shape(record) });
    }),
    removeImage: unary(edge, async ({ name }) => {
      await images.remove(name);
      return {};
    }),
  };
}

async function importFrom(
  call: ServerReadableStream<ImportImageRequest, ImportImageResponse>,
  images: ImageStore,
): Promise<ImageRecord> {
  const cancel = new AbortController();
  call.on('cancelled', () => {
    cancel.abort(new NexusError('cancelled', 'the caller went away'));
  });
  const messages = call[Symbol.asyncIterator]() as AsyncIterator<ImportImageRequest>;
  const first = await messages.next();
  const start = first.done === true ? undefined : first.value.start;
  if (start === undefined) throw new NexusError('invalid_argument', 'the first message must name the image');
  async function* bytes(): AsyncGenerator<Uint8Array> {
    for (let next = await messages.next(); next.done !== true; next = await messages.next()) {
      if (next.value.data !== undefined) yield next.value.data;
    }
    if (cancel.signal.aborted) throw cancel.signal.reason as Error;
  }
  return await images.importTar(start.name, Readable.from(bytes(), { objectMode: false }), cancel.signal);
}

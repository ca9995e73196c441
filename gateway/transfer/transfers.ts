/**
 * The transfer core: receives bytes for an identity and stores them on the nodes, and opens content that it may read.
 * port.ts says what it promises.
 */
import type { File } from '../../shared/gen/nexus/v1/file.js';
import { Turns } from '../../shared/async/turns.js';
import { NexusError } from '../../shared/errors.js';
import { expectFile, patiently, uploadSteps } from '../../shared/rpc/file-catalogue.js';
import type { OpenedUpload, UploadCatalogue } from '../../shared/transfer/port.js';
import { streamSource } from '../../shared/transfer/source.js';
import { uploadFile } from '../../shared/transfer/upload.js';
import { PinnedContent, type OpenedContent } from './content.js';
import type { CallsFor, Content, Identity, ReceiveOptions, Source, Target, TransferCalls } from './port.js';

/** Most transfers that may queue: each holds a connection and nothing else. */
const MAX_WAITING = 1024;
/** Largest share of all transfers at once that one account may have. */
const MOST_OF_ONE_ACCOUNT = 3 / 4;

export class Transfers {
  readonly #turns: Turns;

  /** `atOnce`: transfers of all accounts that run at the same time. */
  constructor(
    private readonly controller: CallsFor,
    atOnce: number,
  ) {
    this.#turns = new Turns({
      atOnce,
      // A client that does not read blocks only its own transfers: of four places or more no account gets all.
      perKey: Math.ceil(atOnce * MOST_OF_ONE_ACCOUNT),
      mostWaiting: MAX_WAITING,
      tooMany: () => new NexusError('unavailable', 'too many transfers are waiting; try again in a moment'),
    });
  }

  /** Stores the bytes and returns the file, which is there as a whole or, after an error, not at all. */
  async receive(bytes: AsyncIterable<Uint8Array>, identity: Identity, options: ReceiveOptions): Promise<File> {
    const { sizeBytes, atMostBytes, chunkSizes, signal } = options;
    using _turn = await this.#turns.enter(identity.account, signal);
    const target = await options.target();
    const catalogue = uploadCatalogue(this.#session(identity, signal), target, options);
    const expectedSize = sizeBytes === 0 ? atMostBytes : sizeBytes;
    return await uploadFile(catalogue, {
      // The catalogue knows these two itself.
      name: '',
      replicas: 0,
      expectedSize,
      ...(expectedSize === 0 ? {} : { atMostBytes: expectedSize }),
      ...(chunkSizes === undefined ? {} : { chunkSizes }),
      source: streamSource(asAnnounced(bytes, options), signal),
      signal,
    });
  }

  /** Opens content for reading until it is disposed of. Codes: not_found, permission_denied, others of the controller. */
  async open(source: Source, identity: Identity, signal: AbortSignal): Promise<Content> {
    const session = this.#session(identity, signal);
    const turn = (): Promise<Disposable> => this.#turns.enter(identity.account, signal);
    return new PinnedContent(await opened(source, session), { session, signal, turn });
  }

  #session({ credential, origin }: Identity, signal: AbortSignal): TransferCalls {
    return this.controller.session({ token: credential, ...origin, signal });
  }
}

/** More bytes than announced would not fit into the buffers; fewer are not the file. Code: invalid_argument. */
async function* asAnnounced(
  bytes: AsyncIterable<Uint8Array>,
  { sizeBytes, atMostBytes }: ReceiveOptions,
): AsyncGenerator<Uint8Array> {
  const most = sizeBytes === 0 ? atMostBytes : sizeBytes;
  let size = 0;
  for await (const piece of bytes) {
    size += piece.length;
    if (most !== 0 && size > most) throw unannounced(`more than the ${most} bytes that were announced`);
    yield piece;
  }
  if (size < sizeBytes) throw unannounced(`${size} of the ${sizeBytes} bytes that were announced`);
}

const unannounced = (what: string): NexusError =>
  new NexusError('invalid_argument', `the body has ${what}; send it again`, { field: 'body', problem: `has ${what}` });

async function opened(source: Source, session: TransferCalls): Promise<OpenedContent> {
  if (source.kind === 'file') {
    const file = expectFile((await session.call(session.file.getFile, { file: source.id })).file);
    return { file, name: file.name, leaseId: '' };
  }
  const { file, entry, leaseId } = await session.call(session.fs.openFsDownload, { path: source.path });
  if (entry === undefined) throw new NexusError('internal', 'the controller answered without an entry');
  return { file: expectFile(file), name: entry.name, leaseId };
}

function uploadCatalogue(
  session: TransferCalls,
  target: Target,
  { sizeBytes, placement }: ReceiveOptions,
): UploadCatalogue<File> {
  const steps = uploadSteps(session);
  return {
    ...steps,
    openUpload: ({ explicitSizes }) => openUpload(session, target, { sizeBytes, explicitSizes }),
    commitUpload: async (uploadId, request) => {
      const place = await placement?.();
      if (place !== undefined) await patiently(() => session.call(session.fs.placeFsUpload, { uploadId, ...place }));
      return await steps.commitUpload(uploadId, request);
    },
  };
}

function openUpload(
  session: TransferCalls,
  target: Target,
  { sizeBytes, explicitSizes }: { readonly sizeBytes: number; readonly explicitSizes: boolean },
): Promise<OpenedUpload> {
  const common = { replicas: target.replicas, expectedSize: BigInt(sizeBytes), explicitSizes };
  if (target.kind === 'file') return session.call(session.file.openUpload, { name: target.name, ...common });
  const { path, overwrite, parents } = target;
  return session.call(session.fs.openFsUpload, { path, overwrite, parents, ...common });
}

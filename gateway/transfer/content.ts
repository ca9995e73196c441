/** Opened content, sent from the nodes to whoever reads it, with a few chunks in memory and nothing on disk. */
import type { File } from '../../shared/gen/nexus/v1/file.js';
import { downloadCatalogue } from '../../shared/rpc/file-catalogue.js';
import { chunksOf, type ChunkedFile } from '../../shared/transfer/chunk-range.js';
import { downloadFile } from '../../shared/transfer/download.js';
import { handedOver } from './handoff.js';
import type { ByteRange, Content, TransferCalls } from './port.js';

const UNPIN_DEADLINE_MS = 5000;

export interface OpenedContent {
  readonly file: File;
  readonly name: string;
  /** Lease of a pin in the virtual file system; empty: none. */
  readonly leaseId: string;
}

interface ContentDeps {
  readonly session: TransferCalls;
  readonly signal: AbortSignal;
  /** Waits for the account's turn. */
  readonly turn: () => Promise<Disposable>;
}

export class PinnedContent implements Content {
  constructor(
    private readonly opened: OpenedContent,
    private readonly deps: ContentDeps,
  ) {}

  get file(): File {
    return this.opened.file;
  }

  get name(): string {
    return this.opened.name;
  }

  async assertReadable(range?: ByteRange): Promise<void> {
    const { file, leaseId } = this.opened;
    if (file.size === 0n) return;
    const catalogue = downloadCatalogue(this.deps.session, leaseId);
    const { from, until } = await chunksOf(catalogue, chunkedFile(file), range);
    await catalogue.chunkSources(file.id, from, 1, until);
  }

  async *send(range?: ByteRange): AsyncGenerator<Buffer, void, undefined> {
    const { file, leaseId } = this.opened;
    const { session, signal, turn } = this.deps;
    if (file.size === 0n) return;
    using _turn = await turn();
    const catalogue = downloadCatalogue(session, leaseId);
    const request = {
      ...chunkedFile(file),
      ...(range === undefined ? {} : { range }),
    };
    yield* handedOver((deliver, until) => downloadFile(catalogue, { ...request, deliver, signal: until }), signal);
  }

  /** The pin would end by itself; until then it would only keep room. */
  async [Symbol.asyncDispose](): Promise<void> {
    const { leaseId } = this.opened;
    if (leaseId === '') return;
    const { session } = this.deps;
    await session.callDetached(session.fs.closeFsDownload, { leaseId }, UNPIN_DEADLINE_MS).catch(() => undefined);
  }
}

const chunkedFile = ({ id, chunksCount, explicitSizes }: File): ChunkedFile => ({
  fileId: id,
  chunksCount,
  hasExplicitSizes: explicitSizes,
});

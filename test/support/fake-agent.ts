/** An agent's data plane without tokens or a volume, whose misbehaviour a test can choose; and a catalogue of such. */
import { createHash } from 'node:crypto';
import { once } from 'node:events';
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { buffer } from 'node:stream/consumers';
import { MD5_HEADER, type ErrorReply, type StoredReply } from '../../shared/data-plane.js';
import { NexusError } from '../../shared/errors.js';
import type {
  ChunkGrant,
  ChunkReceipt,
  ChunkSource,
  ChunkTarget,
  DownloadCatalogue,
  GrantRequest,
  OpenedUpload,
  UploadCatalogue,
} from '../../shared/transfer/port.js';

export const md5Of = (content: Buffer): string => createHash('md5').update(content).digest('hex');

/** Answers true when it has dealt with the request itself. */
type Misbehaviour = (request: IncomingMessage, response: ServerResponse) => boolean | Promise<boolean>;

export class FakeAgent {
  readonly chunks = new Map<string, Buffer>();
  misbehave: Misbehaviour = () => false;
  /** Nodes that it says it could not pass chunks on to. */
  failedNodes: readonly string[] = [];
  readonly #server: Server;

  private constructor(readonly name: string) {
    this.#server = createServer((request, response) => void this.#answer(request, response));
  }

  static async start(name: string): Promise<FakeAgent> {
    const agent = new FakeAgent(name);
    agent.#server.listen(0, '127.0.0.1');
    await once(agent.#server, 'listening');
    return agent;
  }

  get target(): ChunkTarget {
    const { port } = this.#server.address() as AddressInfo;
    return { nodeId: `id-of-${this.name}`, nodeName: this.name, address: `127.0.0.1:${port}`, token: 'token' };
  }

  async stop(): Promise<void> {
    this.#server.close();
    this.#server.closeAllConnections();
    await once(this.#server, 'close');
  }

  async #answer(request: IncomingMessage, response: ServerResponse): Promise<void> {
    if (await this.misbehave(request, response)) return;
    const id = (request.url ?? '').slice('/chunks/'.length);
    if (request.method === 'PUT') {
      const content = await buffer(request);
      const md5 = md5Of(content);
      if (request.headers[MD5_HEADER] !== md5) {
        refuse(response, 400, { error: 'the checksum is wrong', code: 'data_loss' });
        return;
      }
      this.chunks.set(id, content);
      const reply: StoredReply = {
        size: content.length,
        md5,
        receipts: [`${this.name}:${id}`],
        failed_nodes: this.failedNodes,
      };
      response.writeHead(201).end(JSON.stringify(reply));
      return;
    }
    const content = this.chunks.get(id);
    if (content === undefined) refuse(response, 404, { error: 'there is no such chunk', code: 'not_found' });
    else response.writeHead(200, { 'content-length': content.length }).end(content);
  }
}

export function refuse(response: ServerResponse, status: number, reply: ErrorReply): void {
  response.writeHead(status).end(JSON.stringify(reply));
}

export interface Committed {
  readonly size: number;
  readonly chunksCount: number;
  readonly content: Buffer;
}

/** Grants round robin and, at the commit, asks for a receipt of every chunk, as the controller does. */
export class FakeUploads implements UploadCatalogue<Committed> {
  readonly calls: GrantRequest[] = [];
  aborted = 0;
  /** Called first in every GrantChunks; may throw or wait. */
  beforeGrant: (request: GrantRequest) => void | Promise<void> = () => undefined;
  readonly #receipts = new Map<number, string>();
  readonly #places = new Map<number, FakeAgent>();
  #granted = 0;

  constructor(private readonly agents: readonly FakeAgent[]) {}

  openUpload: () => Promise<OpenedUpload> = () => Promise.resolve({ uploadId: 'upload' });

  async grantChunks(_uploadId: string, request: GrantRequest): Promise<ChunkGrant[]> {
    this.calls.push(request);
    await this.beforeGrant(request);
    this.#take(request.receipts);
    const retried = request.retry.map(({ index, failedNodeIds }) => this.#grant(index, failedNodeIds));
    const fresh = Array.from({ length: request.count }, () => this.#grant(this.#granted++, []));
    return [...retried, ...fresh];
  }

  commitUpload(
    _uploadId: string,
    request: { size: number; chunksCount: number; receipts: readonly ChunkReceipt[] },
  ): Promise<Committed> {
    this.#take(request.receipts);
    const parts: Buffer[] = [];
    for (let index = 0; index < request.chunksCount; index += 1) {
      const part = this.#places.get(index)?.chunks.get(chunkIdOf(index));
      if (!this.#receipts.has(index) || part === undefined) {
        throw new NexusError('failed_precondition', `chunk ${index} has no receipt`);
      }
      parts.push(part);
    }
    return Promise.resolve({ size: request.size, chunksCount: request.chunksCount, content: Buffer.concat(parts) });
  }

  abortUpload(): Promise<void> {
    this.aborted += 1;
    return Promise.resolve();
  }

  #take(receipts: readonly ChunkReceipt[]): void {
    for (const { index, receipt } of receipts) this.#receipts.set(index, receipt);
  }

  /** As the controller does: with one copy stored, a chunk for which no other node is left is granted none. */
  #grant(index: number, failedNodeIds: readonly string[]): ChunkGrant {
    const holder = this.#receipts.has(index) ? this.#places.get(index) : undefined;
    const left = this.agents.filter((agent) => agent !== holder && !failedNodeIds.includes(agent.target.nodeId));
    const agent = left[index % Math.max(1, left.length)];
    if (agent === undefined && holder === undefined) throw new NexusError('unavailable', 'no other node is left');
    if (agent !== undefined && holder === undefined) this.#places.set(index, agent);
    return { index, chunkId: chunkIdOf(index), targets: agent === undefined ? [] : [agent.target] };
  }
}

const chunkIdOf = (index: number): string => index.toString(16).padStart(32, '0');

/** Each part of `parts` as one chunk on all of `agents`. */
export function storedFile(
  parts: readonly Buffer[],
  agents: readonly FakeAgent[],
): DownloadCatalogue & { readonly sources: readonly ChunkSource[] } {
  let end = 0;
  const sources = parts.map((part, index): ChunkSource => {
    const offset = end;
    end += part.length;
    for (const agent of agents) agent.chunks.set(chunkIdOf(index), part);
    const replicas = agents.map((agent) => agent.target);
    return { index, chunkId: chunkIdOf(index), size: part.length, offset, md5: md5Of(part), replicas };
  });
  return {
    sources,
    reportReplica: () => Promise.resolve(),
    chunkSources: (_file, fromIndex, count) => Promise.resolve(sources.slice(fromIndex, fromIndex + count)),
    findChunks: (_file, range) => {
      const touched = sources.filter(({ offset = 0, size }) => offset < range.end && offset + size > range.start);
      const from = touched[0]?.index ?? 0;
      return Promise.resolve({ from, until: from + touched.length });
    },
  };
}

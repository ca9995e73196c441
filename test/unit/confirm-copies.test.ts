/** A node is removed only when the nodes that have the other copies say so themselves. */
import { expect } from 'chai';
import { unconfirmedOn } from '../../controller/node/confirm-copies.js';
import type { NodeContext } from '../../controller/node/context.js';
import type { StoredChunk } from '../../controller/store/port/replicas.js';
import { NexusError } from '../../shared/errors.js';
import type { ChunkId, FileId, NodeId } from '../../shared/ids.js';
import { nodeId } from '../support/records.js';

const chunkId = (number: number): ChunkId => number.toString(16).padStart(32, '0') as ChunkId;

describe('the copies that a removal relies on', () => {
  /** What each node lists; undefined: its volume fails. */
  let held: Map<NodeId, readonly ChunkId[] | undefined>;
  let chunks: StoredChunk[];
  const context = {
    replicas: {
      walk: ({ after, limit }: { after: string; limit: number }) =>
        Promise.resolve(chunks.filter(({ id }) => id > after).slice(0, limit)),
    },
    registry: { get: (id: NodeId) => ({ name: `node-${Number(id)}` }) },
    bus: {
      request: (id: NodeId, { listChunks }: { listChunks: { after: string; limit: number } }) => {
        const list = held.get(id);
        if (list === undefined) throw new NexusError('unavailable', 'the volume cannot be read (EIO)');
        const page = list.filter((chunk) => chunk > listChunks.after).slice(0, listChunks.limit);
        return Promise.resolve({ chunks: page.map((chunk) => ({ chunkId: chunk })) });
      },
    },
  } as unknown as NodeContext;
  const store = (count: number, nodes: readonly NodeId[]): void => {
    chunks = Array.from({ length: count }, (_, number) => ({
      id: chunkId(number + 1),
      fileId: `file-${number}` as FileId,
      index: 0,
      size: 1,
      md5: '',
      wanted: nodes.length,
      replicas: nodes.map((id) => ({ nodeId: id, state: 'ready' as const })),
    }));
    held = new Map(nodes.map((id) => [id, chunks.map((chunk) => chunk.id)]));
  };
  const holders = [nodeId(1), nodeId(2)];

  it('are all confirmed where their nodes list them, over many pages', async () => {
    store(2500, [nodeId(0), nodeId(1)]);
    expect(await unconfirmedOn(context, nodeId(0), holders)).to.deep.equal({ chunks: 0, files: [], silent: [] });
  });

  it('are not where the only other node’s volume fails: it is named, with what it said', async () => {
    store(3, [nodeId(0), nodeId(1)]);
    held.set(nodeId(1), undefined);
    const found = await unconfirmedOn(context, nodeId(0), holders);
    expect(found.chunks).to.equal(3);
    expect(found.files).to.deep.equal(['file-0', 'file-1', 'file-2']);
    expect(found.silent).to.deep.equal(['node-1: the volume cannot be read (EIO)']);
  });

  it('are confirmed by any one of several, and not by one that lacks them', async () => {
    store(3, [nodeId(0), nodeId(1), nodeId(2)]);
    held.set(nodeId(1), undefined);
    held.set(nodeId(2), [chunkId(1), chunkId(3)]);
    const found = await unconfirmedOn(context, nodeId(0), holders);
    expect(found).to.include({ chunks: 1 });
    expect(found.files).to.deep.equal(['file-1']);
  });

  it('do not matter where the node itself holds nothing', async () => {
    store(3, [nodeId(1), nodeId(2)]);
    held.set(nodeId(1), undefined);
    expect((await unconfirmedOn(context, nodeId(0), holders)).chunks).to.equal(0);
  });
});

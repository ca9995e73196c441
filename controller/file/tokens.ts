/** Tokens: each gives a client the right to one chunk at an agent, for a few minutes. */
import { signClaims, type ChunkOrigin, type ForwardTarget, type PackTokenClaims } from '../../shared/chunk-token.js';
import type { ChunkId } from '../../shared/ids.js';
import { CHUNK_TOKEN_TTL_MS } from '../../shared/limits.js';
import type { FileDeps } from './deps.js';
import type { FileRecord } from '../store/port/store.js';
import type { StorageNode } from './nodes.js';

export interface ChunkTarget {
  readonly nodeId: string;
  readonly nodeName: string;
  readonly address: string;
  readonly token: string;
}

/** Builds what agents store beside the chunk. `expected`: announced bytes of the whole file, 0: not known. */
export const originOf = (
  file: FileRecord,
  { index, offset }: { readonly index: number; readonly offset: number },
  expected: number,
): ChunkOrigin => ({
  file: file.id,
  index,
  name: file.name,
  owner: file.owner,
  replicas: file.replicas,
  expected,
  created: file.createdAt,
  ...(file.explicitSizes ? { offset } : {}),
});

/** Returns one target per node, for at most `size` bytes; the first one's token names the other nodes to forward to. */
export function writeTargets(
  deps: Pick<FileDeps, 'signer' | 'clock'>,
  chunk: { readonly id: ChunkId; readonly size: number },
  of: ChunkOrigin,
  nodes: readonly StorageNode[],
): ChunkTarget[] {
  const exp = deps.clock.now() + CHUNK_TOKEN_TTL_MS;
  const token = (node: StorageNode, forward?: readonly ForwardTarget[]): string =>
    signClaims(
      {
        op: 'write',
        chunk: chunk.id,
        node: node.id,
        size: chunk.size,
        exp,
        of,
        ...(forward === undefined ? {} : { forward }),
      },
      deps.signer,
    );
  const [first, ...others] = nodes;
  if (first === undefined) return [];
  const forward = others.map((node) => ({ node: node.id, address: node.address, token: token(node) }));
  const target = (node: StorageNode, text: string): ChunkTarget => ({
    nodeId: node.id,
    nodeName: node.name,
    address: node.address,
    token: text,
  });
  return [
    target(first, token(first, forward.length === 0 ? undefined : forward)),
    ...others.map((node, index) => target(node, forward[index]?.token ?? '')),
  ];
}

/** As writeTargets, for chunks that go to these nodes together. */
export function packTargets(
  deps: Pick<FileDeps, 'signer' | 'clock'>,
  chunks: PackTokenClaims['chunks'],
  nodes: readonly StorageNode[],
): ChunkTarget[] {
  const exp = deps.clock.now() + CHUNK_TOKEN_TTL_MS;
  const token = (node: StorageNode, forward?: readonly ForwardTarget[]): string =>
    signClaims(
      { op: 'write-pack', node: node.id, exp, chunks, ...(forward === undefined ? {} : { forward }) },
      deps.signer,
    );
  const [first, ...others] = nodes;
  if (first === undefined) return [];
  const forward = others.map((node) => ({ node: node.id, address: node.address, token: token(node) }));
  const { id: nodeId, name: nodeName, address } = first;
  return [{ nodeId, nodeName, address, token: token(first, forward.length === 0 ? undefined : forward) }];
}

/** `holder`: the user who receives it; undefined: the cluster itself. */
export function readTarget(
  deps: Pick<FileDeps, 'signer' | 'clock'>,
  chunk: { readonly id: ChunkId; readonly size: number },
  node: StorageNode,
  holder: string | undefined,
): ChunkTarget {
  const exp = deps.clock.now() + CHUNK_TOKEN_TTL_MS;
  const { id, size } = chunk;
  const claims = {
    op: 'read',
    chunk: id,
    node: node.id,
    size,
    exp,
    ...(holder === undefined ? {} : { holder }),
  } as const;
  const token = signClaims(claims, deps.signer);
  return { nodeId: node.id, nodeName: node.name, address: node.address, token };
}

/**
 * How chunks reach the nodes: at the agents' own addresses from the machine where they run, through a gateway from any
 * other.
 */
import { CHUNK_TOKEN_HEADER, relayedChunkPath } from '../data-plane.js';
import { chunkAt, type PeerPlace } from '../peer/address.js';

export interface ChunkTarget {
  readonly nodeId: string;
  readonly nodeName: string;
  /** host:port of the agent. */
  readonly address: string;
  readonly token: string;
}

export interface ChunkRoute {
  /** Undefined: in clear. `ca`: the authority that signed, PEM; without it those that Node knows. */
  readonly tls?: { readonly ca?: Buffer };
  to(target: ChunkTarget, chunkId: string): PeerPlace;
}

export const directRoute: ChunkRoute = {
  to: ({ address, token }, chunkId) => chunkAt(address, chunkId, token),
};

/** `url` is the gateway's scheme, host and port; `token` the user's. */
export function gatewayRoute(url: string, token: string, ca: Buffer | undefined): ChunkRoute {
  const { protocol, hostname, port } = new URL(url);
  const isTls = protocol === 'https:';
  const host = hostname.replace(/^\[|\]$/g, '');
  return {
    ...(isTls ? { tls: ca === undefined ? {} : { ca } } : {}),
    to: (target, chunkId) => ({
      host,
      port: port === '' ? (isTls ? 443 : 80) : Number(port),
      path: relayedChunkPath(target.nodeId, chunkId),
      headers: { authorization: `Bearer ${token}`, [CHUNK_TOKEN_HEADER]: target.token },
    }),
  };
}

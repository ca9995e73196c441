/**
 * How chunks reach the nodes: at the agents' own addresses from the machine where they run, through a gateway from any
 * other.
 */
import { CHUNK_TOKEN_HEADER, chunkPath, relayedChunkPath } from '../data-plane.js';

export interface ChunkTarget {
  readonly nodeId: string;
  readonly nodeName: string;
  /** host:port of the agent. */
  readonly address: string;
  readonly token: string;
}

interface ChunkWay {
  readonly host: string;
  readonly port: number;
  readonly path: string;
  readonly headers: Readonly<Record<string, string>>;
}

export interface ChunkRoute {
  /** Undefined: in clear. `ca`: the authority that signed, PEM; without it those that Node knows. */
  readonly tls?: { readonly ca?: Buffer };
  to(target: ChunkTarget, chunkId: string): ChunkWay;
}

export const directRoute: ChunkRoute = {
  to: ({ address, token }, chunkId) => {
    const colon = address.lastIndexOf(':');
    return {
      host: address.slice(0, colon),
      port: Number(address.slice(colon + 1)),
      path: chunkPath(chunkId),
      headers: { authorization: `Bearer ${token}` },
    };
  },
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

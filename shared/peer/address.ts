/** Where an agent is reached, and where a chunk is at an agent. The only place that reads addresses. */
import { chunkPath, PACK_PATH } from '../data-plane.js';

export interface PeerAddress {
  readonly host: string;
  readonly port: number;
}

/** What one request goes to; `headers` say by what right. */
export interface PeerPlace extends PeerAddress {
  readonly path: string;
  readonly headers: Readonly<Record<string, string>>;
}

/** `text`: host:port, as the controller gives out; an IPv6 address in brackets. */
export function peerAddress(text: string): PeerAddress {
  const colon = text.lastIndexOf(':');
  return { host: text.slice(0, colon).replace(/^\[|\]$/g, ''), port: Number(text.slice(colon + 1)) };
}

/** `address`: of the agent; `token` grants access to this one chunk. */
export const chunkAt = (address: string, chunkId: string, token: string): PeerPlace => ({
  ...peerAddress(address),
  path: chunkPath(chunkId),
  headers: { authorization: `Bearer ${token}` },
});

/** The token of a pack is in its body. */
export const packAt = (address: string): PeerPlace => ({ ...peerAddress(address), path: PACK_PATH, headers: {} });

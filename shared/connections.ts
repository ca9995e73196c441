/**
 * Bounds the connections of a server, for each peer and in all. A new connection takes the place of an idle one, of the
 * peer that has the most: whoever opens connections and leaves them takes room from nobody but himself. Only where every
 * connection has a request running is a new one closed.
 */
import type { Socket } from 'node:net';
import type { Server } from 'node:http';

export interface ConnectionBounds {
  readonly perPeer: number;
  readonly inAll: number;
}

interface Peer {
  readonly open: Set<Socket>;
  /** Without a running request; the one that has been so for longest first. */
  readonly idle: Set<Socket>;
}

export class Connections {
  readonly #peers = new Map<string, Peer>();
  #open = 0;
  #closed = 0;

  constructor(
    private readonly bounds: ConnectionBounds,
    /** Called for each connection that was closed; must not throw. */
    private readonly onClosed: (address: string) => void = () => undefined,
  ) {}

  /** Connections that were closed to make room, or for which there was none. */
  get closed(): number {
    return this.#closed;
  }

  watch(server: Server): void {
    server.on('connection', (socket: Socket) => {
      this.add(socket);
    });
    server.on('request', ({ socket }, response) => {
      response.once('close', this.occupy(socket));
    });
  }

  /** While something runs on the connection it does not give way; returns what ends that. */
  occupy(socket: Socket): () => void {
    const peer = this.#peers.get(socket.remoteAddress ?? '');
    peer?.idle.delete(socket);
    return () => {
      if (peer?.open.has(socket) === true) peer.idle.add(socket);
    };
  }

  add(socket: Socket): void {
    const address = socket.remoteAddress ?? '';
    const peer = this.#peers.get(address) ?? { open: new Set(), idle: new Set() };
    this.#peers.set(address, peer);
    peer.open.add(socket);
    peer.idle.add(socket);
    this.#open += 1;
    socket.once('close', () => {
      this.#forget(socket, address, peer);
    });
    if (peer.open.size > this.bounds.perPeer) this.#close(oldest(peer) ?? socket, address, peer);
    else if (this.#open > this.bounds.inAll) this.#makeRoom(socket, address, peer);
  }

  #makeRoom(socket: Socket, address: string, peer: Peer): void {
    const [most] = [...this.#peers]
      .filter(([, { idle }]) => idle.size > 0)
      .sort(([, a], [, b]) => b.open.size - a.open.size);
    const [ofAddress, of] = most ?? [address, peer];
    this.#close(oldest(of) ?? socket, ofAddress, of);
  }

  #close(socket: Socket, address: string, peer: Peer): void {
    this.#closed += 1;
    this.onClosed(address);
    // Its place is free at once: the event of its end comes later.
    this.#forget(socket, address, peer);
    socket.destroy();
  }

  #forget(socket: Socket, address: string, peer: Peer): void {
    if (!peer.open.delete(socket)) return;
    peer.idle.delete(socket);
    this.#open -= 1;
    if (peer.open.size === 0 && this.#peers.get(address) === peer) this.#peers.delete(address);
  }
}

const oldest = ({ idle }: Peer): Socket | undefined => idle.values().next().value;

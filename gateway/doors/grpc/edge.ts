/**
 * gRPC on the gateway's port, for command lines on other machines. Each client's connection has its own connection to
 * the controller, made with its first call: a client that reads slowly delays nobody else, and one that disconnects
 * ends all its calls. Of a client's metadata only the token, the deadline and the request id reach the controller,
 * which decides about every call.
 */
import { createServer } from 'node:http2';
import type { Socket } from 'node:net';
import { RequestLog } from '../../http/request-log.js';
import { Connection, type ConnectionBounds, type ConnectionDeps } from './connection.js';

export interface GrpcBounds extends ConnectionBounds {
  /** Most open connections; each has one to the controller. */
  readonly connections: number;
  /** Most connections from one address; that of a proxy stands for all its clients. */
  readonly connectionsPerPeer: number;
}

export interface GrpcDeps extends Omit<ConnectionDeps, 'requests'> {
  readonly bounds: GrpcBounds;
}

/** A user at a password prompt may take longer than `firstCallMs`; gRPC then reconnects by itself. */
export const GRPC_BOUNDS: GrpcBounds = {
  connections: 1024,
  connectionsPerPeer: 256,
  idleMs: 5 * 60 * 1000,
  firstCallMs: 30_000,
  pingMs: 30_000,
  answerMs: 20_000,
};

/** More than one command line ever needs; further calls wait at the client. */
const MAX_STREAMS = 100;
const MAX_HEADER_BYTES = 16 * 1024;
/** MB of frames that may queue for one client; no honest client needs more. */
const MAX_SESSION_MEMORY_MB = 8;
/** Detects clients whose machine has gone: without it their calls would wait for ever. */
const TCP_KEEP_ALIVE_MS = 60_000;

export class GrpcEdge {
  readonly #server = createServer({
    settings: { maxConcurrentStreams: MAX_STREAMS, maxHeaderListSize: MAX_HEADER_BYTES, enablePush: false },
    maxSessionMemory: MAX_SESSION_MEMORY_MB,
  });
  readonly #connections = new Set<Connection>();
  /** Number of connections of each address. */
  readonly #peers = new Map<string, number>();
  /** The socket being handed over: a session guards its own, which can't be destroyed through it. */
  #accepted: Socket | undefined;
  #isDraining = false;

  constructor(private readonly deps: GrpcDeps) {
    const requests = new RequestLog(deps.log);
    this.#server.on('session', (session) => {
      const socket = this.#accepted;
      if (socket === undefined) throw new Error('a session comes while its socket is accepted');
      const connection = new Connection(session, socket, { ...this.deps, requests });
      this.#connections.add(connection);
      session.once('close', () => {
        this.#connections.delete(connection);
      });
      if (this.#isDraining) connection.drain();
    });
  }

  /** Takes over a connection whose first bytes are unread, or put back. Closes it at once if it is one too many. */
  accept(socket: Socket): void {
    const { connections, connectionsPerPeer } = this.deps.bounds;
    const address = socket.remoteAddress ?? '';
    const ofPeer = this.#peers.get(address) ?? 0;
    if (this.#connections.size >= connections || ofPeer >= connectionsPerPeer) {
      socket.destroy();
      return;
    }
    this.#peers.set(address, ofPeer + 1);
    socket.once('close', () => {
      const left = (this.#peers.get(address) ?? 1) - 1;
      if (left > 0) this.#peers.set(address, left);
      else this.#peers.delete(address);
    });
    socket.setKeepAlive(true, TCP_KEEP_ALIVE_MS);
    this.#accepted = socket;
    this.#server.emit('connection', socket);
    this.#accepted = undefined;
  }

  /** Calls that are running. */
  get running(): number {
    return [...this.#connections].reduce((sum, { running }) => sum + running, 0);
  }

  /** Accepts no more calls, and ends those that would not end by themselves. */
  drain(): void {
    this.#isDraining = true;
    for (const connection of this.#connections) connection.drain();
  }

  /** Ends the remaining connections. */
  close(): void {
    for (const connection of this.#connections) connection.destroy();
  }
}

/** Looks whether a port is served, and listens for a process that can't be trusted with the place itself. */
import { once } from 'node:events';
import { rename } from 'node:fs/promises';
import { createConnection, createServer } from 'node:net';

/** Whether anybody takes connections there. Never fails: what cannot be reached is not there. */
export function isListening(host: string, port: number, timeoutMs: number): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = createConnection({ host, port, timeout: timeoutMs });
    const done = (isOpen: boolean) => () => {
      socket.destroy();
      resolve(isOpen);
    };
    socket.once('connect', done(true));
    socket.once('error', done(false));
    socket.once('timeout', done(false));
  });
}

export interface ListeningSocket {
  readonly fd: number;
  /** Ends this process's share; the path stays. */
  close(): void;
}

/**
 * Listens at `path`, in place of any socket that was there, for a process that gets the descriptor: it takes the
 * connections, this process none.
 */
export async function listenForAnother(path: string): Promise<ListeningSocket> {
  const server = createServer();
  // A server removes the path that it was given when it closes.
  const own = `${path}.new`;
  server.listen({ path: own, backlog: BACKLOG });
  await once(server, 'listening');
  await rename(own, path);
  // Node has no other way to tell it.
  const { fd } = (server as unknown as { readonly _handle: { readonly fd: number } })._handle;
  return { fd, close: () => server.close() };
}

/** More connections at once wait in the kernel for nobody who inspects a node by hand. */
const BACKLOG = 64;

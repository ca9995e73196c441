/** Checks whether a port is served, and listens for a process that can't be trusted with the path itself. */
import { once } from 'node:events';
import { rename } from 'node:fs/promises';
import { createConnection, createServer } from 'node:net';
import { outcome } from '../../shared/async/wait.js';

/** Whether a server accepts connections there. Never fails: an unreachable address counts as not served. */
export function isListening(host: string, port: number, timeoutMs: number): Promise<boolean> {
  return outcome((resolve) => {
    const socket = createConnection({ host, port, timeout: timeoutMs });
    const done = (isOpen: boolean) => () => resolve(isOpen);
    socket.once('connect', done(true));
    socket.once('error', done(false));
    socket.once('timeout', done(false));
    return () => socket.destroy();
  });
}

export interface ListeningSocket {
  readonly fd: number;
  /** Closes this process's descriptor; the path stays. */
  close(): void;
}

/**
 * Listens at `path`, replacing any socket there, for a process that gets the descriptor and accepts the connections.
 */
export async function listenForAnother(path: string): Promise<ListeningSocket> {
  const server = createServer();
  // A server removes the path that it was given when it closes.
  const own = `${path}.new`;
  server.listen({ path: own, backlog: BACKLOG });
  await once(server, 'listening');
  await rename(own, path);
  // Node has no public way to get the descriptor.
  const { fd } = (server as unknown as { readonly _handle: { readonly fd: number } })._handle;
  return { fd, close: () => server.close() };
}

/** Maximum of connections waiting in the kernel: ample for people who inspect a node. */
const BACKLOG = 64;

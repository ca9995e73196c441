/** Stands between a controller and PostgreSQL, on a Unix socket of its own, and cuts connections where a test wants it. */
import { mkdtempSync, rmSync } from 'node:fs';
import { createConnection, createServer, type Server, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

/** A simple query, as the driver sends it: type, length, text, zero. */
const COMMIT = Buffer.from('Q\0\0\0\x0bCOMMIT\0', 'latin1');

/** What becomes of the next COMMIT: it never reaches the server, or its answer never comes back. */
export type Cut = 'commit' | 'answer';

export class PostgresProxy {
  readonly folder = mkdtempSync(join(tmpdir(), 'nexus-proxy-'));
  /** New connections are closed at once. */
  away = false;
  cutNext: Cut | undefined;
  cuts = 0;
  readonly #server: Server;
  readonly #sockets = new Set<Socket>();

  private constructor(private readonly path: string) {
    this.#server = createServer((socket) => {
      this.#join(socket);
    });
  }

  /** `folder` is where the server's own socket lies. */
  static async start(folder: string): Promise<PostgresProxy> {
    const proxy = new PostgresProxy(join(folder, '.s.PGSQL.5432'));
    await new Promise<void>((resolve) => proxy.#server.listen(join(proxy.folder, '.s.PGSQL.5432'), resolve));
    return proxy;
  }

  /** Cuts all connections, in whatever they are. */
  cutAll(): void {
    for (const socket of this.#sockets) socket.destroy();
  }

  async stop(): Promise<void> {
    this.cutAll();
    await new Promise((resolve) => this.#server.close(resolve));
    rmSync(this.folder, { recursive: true, force: true });
  }

  #join(near: Socket): void {
    if (this.away) {
      near.destroy();
      return;
    }
    const far = createConnection(this.path);
    let isDeaf = false;
    const both = [near, far];
    for (const socket of both) {
      this.#sockets.add(socket);
      socket.on('error', () => undefined);
      socket.once('close', () => {
        this.#sockets.delete(socket);
        for (const other of both) other.destroy();
      });
    }
    near.on('data', (data) => {
      const cut = data.includes(COMMIT) ? this.cutNext : undefined;
      if (cut === undefined) {
        far.write(data);
        return;
      }
      this.cutNext = undefined;
      this.cuts += 1;
      isDeaf = true;
      if (cut === 'answer') far.write(data);
      else near.destroy();
    });
    far.on('data', (data) => {
      if (isDeaf) near.destroy();
      else near.write(data);
    });
  }
}

/** A client of the gateway as tests want it: JSON in and out, accounts by the outbox, raw sockets for what no client sends. */
import { readdirSync, readFileSync } from 'node:fs';
import { request } from 'node:http';
import { connect, type Socket } from 'node:net';
import { join } from 'node:path';
import { credentials } from '@grpc/grpc-js';
import { IdentityServiceClient } from '../../shared/gen/nexus/v1/identity.js';
import { eventually, type TestCluster } from './cluster.js';

export const PASSWORD = 'correct horse battery';

export interface Answer {
  readonly status: number;
  readonly headers: Headers;
  readonly text: string;
  /** Of a JSON answer. */
  readonly json: Record<string, unknown>;
}

export type Body = string | Uint8Array | FormData;

export interface Given {
  readonly token?: string;
  readonly json?: unknown;
  readonly body?: Body;
  readonly headers?: Readonly<Record<string, string>>;
}

export class GatewayClient {
  constructor(
    readonly url: string,
    private readonly outbox: string,
  ) {}

  /** Of a cluster with a gateway, once it answers. */
  static async of(cluster: TestCluster): Promise<GatewayClient> {
    const { gateway } = await eventually(
      () => cluster.json<{ gateway: { url: string; ready: boolean; problem: string } }>('status'),
      (status) => status.gateway.ready,
      30_000,
    );
    return new GatewayClient(gateway.url, join(cluster.stateDir, 'outbox'));
  }

  async call(method: string, path: string, { token, json, body, headers }: Given = {}): Promise<Answer> {
    const response = await fetch(new URL(path, this.url), {
      method,
      headers: {
        ...(token === undefined ? {} : { authorization: `Bearer ${token}` }),
        ...(json === undefined ? {} : { 'content-type': 'application/json' }),
        ...headers,
      },
      body: json === undefined ? ((body as RequestInit['body']) ?? null) : JSON.stringify(json),
    });
    const text = await response.text();
    const isJson = response.headers.get('content-type')?.startsWith('application/json') === true;
    const parsed = isJson && text !== '' ? (JSON.parse(text) as Record<string, unknown>) : {};
    return { status: response.status, headers: response.headers, text, json: parsed };
  }

  /** Posts JSON from that address of the loopback; answers the status. */
  callFrom(localAddress: string, path: string, json: unknown): Promise<number> {
    return new Promise((resolve, reject) => {
      const headers = { 'content-type': 'application/json' };
      const sending = request(
        new URL(path, this.url),
        { method: 'POST', localAddress, headers, agent: false },
        (answer) => {
          answer.resume().once('end', () => {
            resolve(answer.statusCode ?? 0);
          });
        },
      );
      sending.once('error', reject).end(JSON.stringify(json));
    });
  }

  /** Registers and answers the token. */
  async register(username: string): Promise<string> {
    const email = `${username}@example.org`;
    await this.call('POST', '/auth/register/init', { json: { username, password: PASSWORD, email } });
    const { json } = await this.call('POST', '/auth/register/verify', {
      json: { email, code: await this.codeFor(email) },
    });
    return String(json['token']);
  }

  /** The code in the newest mail to this address. */
  async codeFor(email: string): Promise<string> {
    const mails = (): string[] =>
      readdirSync(this.outbox)
        .filter((name) => name.endsWith('.eml'))
        .sort()
        .map((name) => readFileSync(join(this.outbox, name), 'utf8'))
        .filter((text) => text.includes(email));
    const seen = await eventually(mails, (now) => now.length > 0);
    return /^Code: (\d{6})$/m.exec(seen.at(-1) ?? '')?.[1] ?? '';
  }

  /** Sends these bytes and never reads what comes back. */
  deaf(bytes: string): { readonly socket: Socket; readonly connected: Promise<unknown> } {
    const { hostname, port } = new URL(this.url);
    const socket = connect(Number(port), hostname).pause();
    socket.on('error', () => undefined);
    const connected = new Promise((resolve) => socket.once('connect', resolve));
    socket.write(bytes);
    return { socket, connected };
  }

  /** Sends these bytes as they are; answers what came back until the server closed, or `ms` passed. */
  raw(bytes: string | readonly string[], ms = 60_000): Promise<string> {
    const { hostname, port } = new URL(this.url);
    return new Promise((resolve) => {
      const socket = connect(Number(port), hostname);
      let answer = '';
      const timer = setTimeout(() => socket.destroy(), ms);
      socket.on('data', (data) => {
        answer += data.toString('latin1');
      });
      // Being cut off is what some of the tests are about.
      socket.on('error', () => undefined);
      socket.once('close', () => {
        clearTimeout(timer);
        resolve(answer);
      });
      for (const piece of typeof bytes === 'string' ? [bytes] : bytes) socket.write(piece);
    });
  }
}

/** By the admin socket, which alone can do it for the first one. */
export const makeAdministrator = (socket: string, username: string): Promise<void> =>
  asLocalAdministrator(socket, (client, done) => client.setRole({ username, role: 'admin' }, done));

export const setDisabled = (socket: string, username: string, disabled: boolean): Promise<void> =>
  asLocalAdministrator(socket, (client, done) => client.setDisabled({ username, disabled }, done));

async function asLocalAdministrator(
  socket: string,
  call: (client: IdentityServiceClient, done: (error: Error | null) => void) => unknown,
): Promise<void> {
  const client = new IdentityServiceClient(`unix:${socket}`, credentials.createInsecure());
  try {
    await new Promise<void>((resolve, reject) => {
      call(client, (error) => {
        if (error === null) resolve();
        else reject(error);
      });
    });
  } finally {
    client.close();
  }
}

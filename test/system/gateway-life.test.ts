/** The gateway as a process: the controller away and back, events that resume, its own death, and a stop under load. */
import { randomBytes } from 'node:crypto';
import { request, Agent, type IncomingMessage } from 'node:http';
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect } from 'chai';
import { eventually } from '../support/cluster.js';
import { GatewayClient } from '../support/gateway.js';
import { describeWithCluster } from '../support/system.js';

const LOAD_SECONDS = 10;
const CLIENTS = 200;

/** On a busy machine what 200 clients have begun takes longer than a person would want a stop to take. */
const env = { NEXUS_GATEWAY_DRAIN_MS: '60000', NEXUS_UPLOAD_TTL_MS: '15000' };

describeWithCluster('the life of the gateway', { runtime: 'process', gateway: true, env }, (cluster) => {
  let gateway: GatewayClient;
  let token: string;
  const status = () => cluster().json<{ gateway: { pid: number; ready: boolean; url: string } }>('status');

  before(async () => {
    gateway = await GatewayClient.of(cluster());
    token = await gateway.register('alice');
    await cluster().ok('node', 'create', 'n1', '--storage', '1G');
  });

  /** Reads server-sent events until `enough`, then goes away. */
  async function events(
    headers: Record<string, string>,
    enough: (text: string) => boolean,
    reader = token,
  ): Promise<string> {
    const gone = new AbortController();
    const response = await fetch(new URL('/api/events', gateway.url), {
      headers: { authorization: `Bearer ${reader}`, ...headers },
      signal: gone.signal,
    });
    expect(response.headers.get('content-type')).to.contain('text/event-stream');
    let text = '';
    for await (const piece of response.body as unknown as AsyncIterable<Uint8Array>) {
      text += Buffer.from(piece).toString('utf8');
      if (enough(text)) break;
    }
    gone.abort();
    return text;
  }
  const idsIn = (text: string): number[] => [...text.matchAll(/^id: (\d+)$/gm)].map(([, id]) => Number(id));

  it('tells events in order, and after Last-Event-ID only what came later', async () => {
    const all = await events({}, (text) => text.includes('event: node.running'));
    const ids = idsIn(all);
    expect(ids).to.deep.equal([...ids].sort((a, b) => a - b));
    const last = ids.at(-1) ?? 0;
    const waiting = events({ 'last-event-id': String(last) }, (text) => text.includes('event: node.'));
    await cluster().ok('node', 'cordon', 'n1');
    await cluster().ok('node', 'uncordon', 'n1');
    const later = idsIn(await waiting);
    expect(later.length).to.be.greaterThan(0);
    expect(Math.min(...later)).to.be.greaterThan(last);
  });

  it('tells users what happens to their own files, while it happens and later, and nothing of others’', async () => {
    const users = { alice: token, bob: await gateway.register('bob') };
    const isLast = (text: string): boolean => text.includes('event: node.uncordoned');
    const last = (await cluster().json<{ id: number }[]>('events')).at(-1)?.id ?? 0;
    const since = { 'last-event-id': String(last) };
    const live = Object.values(users).map((reader) => events(since, isLast, reader));
    for (const [name, mine] of Object.entries(users)) {
      const stored = await gateway.call('POST', `/api/files/upload?name=of-${name}`, { token: mine, body: name });
      await gateway.call('POST', `/api/fs/upload?path=/tree-of-${name}`, { token: mine, body: name });
      await gateway.call('DELETE', `/api/files/${String(stored.json['id'])}`, { token: mine });
      await gateway.call('DELETE', `/api/fs/delete?path=/tree-of-${name}`, { token: mine });
    }
    await cluster().ok('node', 'cordon', 'n1');
    await cluster().ok('node', 'uncordon', 'n1');
    const later = Object.values(users).map((reader) => events(since, isLast, reader));
    for (const told of [live, later]) {
      const [alice = '', bob = ''] = await Promise.all(told);
      // On a busy machine a node may be thought silent for a moment.
      const types = (text: string): string[] =>
        [...text.matchAll(/^event: ((?:file|fs)\..+|node\.(?:un)?cordoned)$/gm)].map(([, type]) => type ?? '');
      const expected = [
        'file.committed',
        'file.committed',
        'file.removed',
        'fs.removed',
        'node.cordoned',
        'node.uncordoned',
      ];
      expect([types(alice), types(bob)]).to.deep.equal([expected, expected]);
      expect(alice)
        .to.contain('file of-alice was removed')
        .and.contain('/tree-of-alice was removed: 1 file(s)')
        .and.not.contain('bob');
      expect(bob).to.contain('file of-bob was removed').and.not.contain('alice');
    }
    const all = JSON.stringify(await cluster().json('events'));
    expect(all).to.contain('of-alice').and.contain('of-bob');
    const asBob = JSON.stringify(await cluster().json('--as', 'bob', 'events'));
    expect(asBob).to.contain('of-bob').and.not.contain('of-alice');
  });

  it('gives one user no more than so many streams, and others theirs', async () => {
    const bob = await gateway.register('carol');
    const gone = new AbortController();
    const open = (reader: string) =>
      fetch(new URL('/api/events', gateway.url), {
        headers: { authorization: `Bearer ${reader}` },
        signal: gone.signal,
      });
    const answers = await Promise.all(Array.from({ length: 40 }, () => open(token)));
    const refused = answers.filter(({ status: code }) => code === 429);
    expect([refused.length, refused[0]?.headers.get('retry-after')]).to.deep.equal([8, '1']);
    expect((await open(bob)).status).to.equal(200);
    gone.abort();
    await eventually(
      async () => {
        const again = new AbortController();
        const { status: code } = await fetch(new URL('/api/events', gateway.url), {
          headers: { authorization: `Bearer ${token}` },
          signal: again.signal,
        });
        again.abort();
        return code;
      },
      (code) => code === 200,
    );
  });

  it('counts nobody who leaves a stream among its own faults', () => {
    const lines = readFileSync(join(cluster().runDir, 'gateway.d', 'gateway.log'), 'utf8').split('\n');
    expect(lines.some((line) => line.includes('"route":"/api/events","status":499'))).to.equal(true);
    expect(lines.filter((line) => line.includes('"level":50'))).to.deep.equal([]);
  });

  it('answers 503 while the controller is away, is adopted by the next one, and serves again by itself', async () => {
    const { gateway: before } = await status();
    await cluster().killController('SIGKILL');
    const away = await gateway.call('GET', '/api/files', { token });
    expect([away.status, away.headers.get('retry-after'), away.json['code']]).to.deep.equal([503, '1', 'unavailable']);
    expect((await gateway.call('GET', '/readyz')).status).to.equal(503);
    expect((await gateway.call('GET', '/healthz')).status).to.equal(200);
    await cluster().startController();
    await eventually(
      () => gateway.call('GET', '/api/files', { token }),
      (answer) => answer.status === 200,
    );
    await eventually(status, ({ gateway: now }) => now.ready && now.pid === before.pid);
  });

  it('goes on with an upload whose controller was killed meanwhile, and what its senders left is free again', async () => {
    const content = randomBytes(12 * 1024 * 1024);
    const quota = async () => (await gateway.call('GET', '/api/fs/quota', { token })).json;
    const asks = async function* (): AsyncGenerator<Buffer> {
      // Beyond one chunk, so that a grant is used up before and another one needed after.
      yield content.subarray(0, 11 * 1024 * 1024);
      await eventually(quota, ({ reserved }) => Number(reserved) > 0);
      await cluster().killController('SIGKILL');
      yield content.subarray(11 * 1024 * 1024, -1);
      await new Promise((resolve) => setTimeout(resolve, 1000));
      await cluster().startController();
      yield content.subarray(-1);
    };
    const answer = await fetch(new URL('/api/files/upload?name=over-a-restart', gateway.url), {
      method: 'POST',
      headers: { authorization: `Bearer ${token}` },
      body: asks(),
      duplex: 'half',
    });
    const stored = (await answer.json()) as { id: string; size: number };
    expect([answer.status, stored.size]).to.deep.equal([200, content.length]);
    const read = await fetch(new URL(`/api/files/${stored.id}/download`, gateway.url), {
      headers: { authorization: `Bearer ${token}` },
    });
    expect(Buffer.from(await read.arrayBuffer()).equals(content)).to.equal(true);
    expect((await quota())['reserved']).to.equal(0);

    // A sender that is killed together with its controller says nothing more.
    const gone = new AbortController();
    const begun = fetch(new URL('/api/files/upload?name=never', gateway.url), {
      method: 'POST',
      headers: { authorization: `Bearer ${token}` },
      body: (async function* () {
        yield content;
        await eventually(quota, ({ reserved }) => Number(reserved) > 0);
        const { gateway: running } = await status();
        await cluster().killController('SIGKILL');
        process.kill(running.pid, 'SIGKILL');
      })(),
      duplex: 'half',
      signal: gone.signal,
    });
    expect(
      await begun.then(
        () => 'answered',
        () => 'broken',
      ),
    ).to.equal('broken');
    await cluster().startController();
    gateway = await GatewayClient.of(cluster());
    await eventually(quota, ({ reserved }) => reserved === 0);
  }).timeout(120_000);

  it('is started again when it dies', async () => {
    const { gateway: before } = await status();
    process.kill(before.pid, 'SIGKILL');
    await eventually(status, ({ gateway: now }) => now.ready && now.pid !== before.pid);
    expect((await gateway.call('GET', '/api/files', { token })).status).to.equal(200);
  });

  it(`serves ${CLIENTS} clients for ${LOAD_SECONDS} s without a 5xx, and cuts none of them when it is stopped under load`, async () => {
    const { gateway: found } = await status();
    const figures = (): { residentMb: number; files: number } => ({
      residentMb: Number(/^VmRSS:\s+(\d+)/m.exec(readFileSync(`/proc/${found.pid}/status`, 'utf8'))?.[1]) / 1024,
      files: readdirSync(`/proc/${found.pid}/fd`).length,
    });
    const before = figures();
    const load = new Load(gateway.url, token);
    const clients = Array.from({ length: CLIENTS }, (_, at) => load.run(at));
    await new Promise((resolve) => setTimeout(resolve, LOAD_SECONDS * 1000));
    const during = figures();
    process.kill(found.pid, 'SIGTERM');
    await Promise.all(clients);
    load.close();
    const times = load.times.sort((a, b) => a - b);
    const p99 = times[Math.floor(times.length * 0.99)] ?? 0;
    process.stdout.write(
      `      ${times.length} requests, p50 ${(times[times.length >> 1] ?? 0).toFixed(0)} ms, p99 ${p99.toFixed(0)} ms; ` +
        `resident ${before.residentMb.toFixed(0)} -> ${during.residentMb.toFixed(0)} MB, files ${before.files} -> ${during.files}\n`,
    );
    expect(load.failures.slice(0, 5), `${load.failures.length} failures`).to.deep.equal([]);
    expect(times.length).to.be.greaterThan(CLIENTS);
    expect(during.residentMb).to.be.lessThan(before.residentMb + 300);
    await eventually(status, ({ gateway: now }) => now.ready && now.pid !== found.pid);
  });
});

/** Clients that read, list and store small files, each on a connection that it keeps, until the gateway refuses new ones. */
class Load {
  readonly times: number[] = [];
  readonly failures: string[] = [];
  readonly #agent = new Agent({ keepAlive: true, maxSockets: CLIENTS });
  #isOver = false;

  constructor(
    private readonly url: string,
    private readonly token: string,
  ) {}

  async run(client: number): Promise<void> {
    for (let at = 0; !this.#isOver; at += 1) {
      const startedAt = performance.now();
      const kind = (client + at) % 4;
      const outcome =
        kind === 0
          ? await this.#call('POST', `/api/fs/upload?path=/load-${client}.bin&overwrite=true`, Buffer.alloc(2000))
          : await this.#call('GET', ['/api/fs/ls', '/api/files', '/auth/whoami'][kind - 1] ?? '');
      // A connection that was not accepted is the sign that it stops; what was accepted must be answered.
      if (outcome === 'refused') this.#isOver = true;
      else if (outcome === 200) this.times.push(performance.now() - startedAt);
      else this.failures.push(`${outcome} for request ${at} of client ${client}`);
    }
  }

  close(): void {
    this.#agent.destroy();
  }

  #call(method: string, path: string, body?: Buffer): Promise<number | string> {
    return new Promise((resolve) => {
      let isConnected = false;
      const outgoing = request(new URL(path, this.url), {
        method,
        agent: this.#agent,
        headers: { authorization: `Bearer ${this.token}` },
      });
      outgoing.once('socket', (socket) => {
        isConnected = !socket.connecting;
        socket.once('connect', () => {
          isConnected = true;
        });
      });
      outgoing.once('response', (response: IncomingMessage) => {
        response.resume();
        response.once('end', () => {
          resolve(response.complete ? (response.statusCode ?? 0) : 'cut');
        });
        response.once('error', () => {
          resolve('cut');
        });
      });
      outgoing.once('error', (error: NodeJS.ErrnoException) => {
        // The kernel completes connections for a listener that has just been closed, and resets them.
        const isNew = !outgoing.reusedSocket && error.code === 'ECONNRESET';
        resolve(!isConnected || isNew ? 'refused' : (error.code ?? error.message));
      });
      outgoing.end(body);
    });
  }
}

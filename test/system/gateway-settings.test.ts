/** The gateway as its settings make it: HTTPS, pages of other origins, a proxy in front. */
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import type { IncomingHttpHeaders } from 'node:http';
import { request } from 'node:https';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { text } from 'node:stream/consumers';
import { expect } from 'chai';
import { spawn } from 'node-pty';
import { CERTIFICATE, CERTIFICATE_KEY } from '../support/certificate.js';
import { eventually, PROJECT } from '../support/cluster.js';
import { GatewayClient, PASSWORD } from '../support/gateway.js';
import { RemoteUser } from '../support/remote-user.js';
import { describeWithCluster } from '../support/system.js';

const folder = mkdtempSync(join(tmpdir(), 'nexus-tls-'));
const certFile = join(folder, 'cert.pem');
const keyFile = join(folder, 'key.pem');
const ALLOWED = 'https://console.example.org';
const env = {
  NEXUS_GATEWAY_TLS_CERT_FILE: certFile,
  // Root's alone: the gateway reads it before it becomes nobody.
  NEXUS_GATEWAY_TLS_KEY_FILE: keyFile,
  NEXUS_GATEWAY_CORS_ORIGINS: `${ALLOWED},http://localhost:3000`,
  NEXUS_GATEWAY_PROXIES: '1',
  NEXUS_AUTH_CALLS_PER_ADDRESS_PER_MINUTE: '6',
};

interface Answer {
  readonly status: number;
  readonly headers: IncomingHttpHeaders;
  readonly body: string;
}

describeWithCluster('the settings of the gateway', { runtime: 'process', gateway: true, env }, (cluster) => {
  let gateway: GatewayClient;
  let alice: RemoteUser;

  before(async () => {
    gateway = await GatewayClient.of(cluster());
    const password = 'the password of alice';
    const line = ['user', 'create', 'alice', '--email', 'alice@example.org'];
    expect(await cluster().runWith({ input: `${password}\n` }, ...line)).to.include({ code: 0 });
    alice = new RemoteUser(cluster(), 'alice', password);
    await cluster().ok('node', 'create', 'n1', '--storage', '256M');
  });
  after(() => {
    (alice as RemoteUser | undefined)?.dispose();
    rmSync(folder, { recursive: true });
  });

  const ask = (
    method: string,
    path: string,
    headers: Readonly<Record<string, string>> = {},
    body?: string,
    ca = CERTIFICATE,
  ): Promise<Answer> =>
    new Promise((resolve, reject) => {
      const outgoing = request(new URL(path, gateway.url), { method, headers, ca }, (incoming) => {
        text(incoming).then((said) => {
          resolve({ status: incoming.statusCode ?? 0, headers: incoming.headers, body: said });
        }, reject);
      });
      outgoing.once('error', reject).end(body);
    });
  const logIn = (from: string): Promise<Answer> => {
    const headers = { 'content-type': 'application/json', 'x-forwarded-for': from };
    return ask('POST', '/auth/login/init', headers, JSON.stringify({ username: 'nobody', password: PASSWORD }));
  };

  it('make it speak HTTPS, to those who trust its certificate, and nothing else', async () => {
    expect(gateway.url).to.match(/^https:/);
    const { status, headers } = await ask('GET', '/readyz');
    expect([status, headers['strict-transport-security']]).to.deep.equal([200, 'max-age=31536000; includeSubDomains']);
    const distrust = await ask('GET', '/readyz', {}, undefined, '').catch((error: unknown) => error);
    expect((distrust as NodeJS.ErrnoException).code).to.equal('DEPTH_ZERO_SELF_SIGNED_CERT');
    expect(await gateway.raw('GET /readyz HTTP/1.1\r\nHost: x\r\n\r\n')).not.to.match(/^HTTP/);
  });

  it('bring the whole command line through HTTPS, with the authority that is named at the login', async () => {
    const refused = await alice.run('login', gateway.url);
    expect(refused).to.include({ code: 5 });
    expect(refused.stderr).to.include('its certificate was signed by an unknown authority').and.include('--ca-file');
    const authority = join(alice.home, 'ca.pem');
    writeFileSync(authority, CERTIFICATE);
    alice.own(authority);
    expect(await alice.logIn(gateway.url, '--ca-file', authority)).to.include({ code: 0 });
    expect(await alice.ok('whoami')).to.include(gateway.url);
    const content = 'through TLS, in chunks'.repeat(1000);
    expect(await alice.runWith(content, 'file', 'upload', '-', '--name', 'tls')).to.include({ code: 0 });
    const [file] = await alice.json<{ id: string }[]>('file', 'ls');
    expect(await alice.ok('file', 'download', file?.id ?? '', '-')).to.equal(content);
  });

  it('show no password on the terminal where it is typed', async () => {
    const args = [join(PROJECT, 'dist', 'cli', 'main.js'), 'login', gateway.url, '--ca-file', certFile];
    const home = mkdtempSync(join(folder, 'home-'));
    const terminal = spawn(process.execPath, args, {
      cols: 120,
      env: { PATH: process.env['PATH'], HOME: home, TERM: 'xterm' },
    });
    let shown = '';
    terminal.onData((data) => {
      shown += data;
    });
    const ended = new Promise<number>((resolve) => {
      terminal.onExit(({ exitCode }) => {
        resolve(exitCode);
      });
    });
    try {
      const seen = (what: string) =>
        eventually(
          () => shown,
          (now) => now.includes(what),
        );
      await seen('user name or mail address: ');
      terminal.write('alice\r');
      await seen('password: ');
      const used = await gateway.codeFor('alice@example.org');
      terminal.write('the passwore\x7fd of alice\r');
      await seen('a code is on its way');
      await seen('code: ');
      const code = await eventually(
        () => gateway.codeFor('alice@example.org'),
        (now) => now !== used,
      );
      terminal.write(`${code}\r`);
      expect(await ended, shown).to.equal(0);
    } finally {
      terminal.kill();
    }
    expect(shown).not.to.include('Warning');
    expect(shown).to.include('alice').and.not.include('passwore').and.not.include(alice.password);
    expect(readFileSync(join(home, '.config', 'nexus', 'sessions.json'), 'utf8')).not.to.include(alice.password);
  });

  it('let pages of the origins that they name call it, and tell others nothing', async () => {
    const preflight = (origin: string) =>
      ask('OPTIONS', '/api/fs/ls', {
        origin,
        'access-control-request-method': 'GET',
        'access-control-request-headers': 'authorization',
      });
    const allowed = await preflight(ALLOWED);
    expect(allowed.status).to.equal(204);
    expect(allowed.headers).to.include({ 'access-control-allow-origin': ALLOWED, vary: 'Origin' });
    expect(allowed.headers['access-control-allow-headers']).to.match(/Authorization/);
    expect(allowed.headers['access-control-allow-methods']).to.match(/GET/);
    for (const origin of ['https://evil.example.org', `${ALLOWED}.evil.example`, 'null', 'http://localhost:30000']) {
      for (const answer of [await preflight(origin), await ask('GET', '/healthz', { origin })]) {
        expect(
          Object.keys(answer.headers).filter((name) => name.startsWith('access-control-')),
          origin,
        ).to.be.empty;
        expect(answer.headers.vary).to.equal('Origin');
      }
    }
    const simple = await ask('GET', '/api/fs/ls', { origin: 'http://localhost:3000' });
    expect([simple.status, simple.headers['access-control-allow-origin']]).to.deep.equal([
      401,
      'http://localhost:3000',
    ]);
    expect(simple.headers).not.to.have.property('access-control-allow-credentials');
  });

  it('make it count clients by what the proxy saw, and by nothing that they say themselves', async () => {
    const tries = async (from: (at: number) => string): Promise<number[]> => {
      const statuses: number[] = [];
      for (let at = 0; at < 8; at += 1) statuses.push((await logIn(from(at))).status);
      return statuses;
    };
    const tooMany = (statuses: readonly number[]): number => statuses.filter((status) => status === 429).length;
    expect(tooMany(await tries((at) => `203.0.113.${at}, 198.51.100.1`)), 'one client, forging').to.equal(2);
    expect(tooMany(await tries((at) => `198.51.100.${at + 10}`)), 'eight clients').to.equal(0);
  });

  it('take a request’s id through to the controller’s log', async () => {
    const saved = JSON.parse(readFileSync(alice.sessionFile, 'utf8')) as { sessions: { token: string }[] };
    const token = saved.sessions[0]?.token ?? '';
    const headers = { authorization: `Bearer ${token}`, 'x-request-id': 'trace.me-1' };
    const { status, headers: answered } = await ask('POST', '/api/files/upload?name=traced', headers, 'hello');
    expect([status, answered['x-request-id']]).to.deep.equal([200, 'trace.me-1']);
    const lines = (): Record<string, unknown>[] =>
      cluster()
        .log.split('\n')
        .filter((line) => line.includes('"trace.me-1"'))
        .map((line) => JSON.parse(line) as Record<string, unknown>);
    const found = await eventually(lines, (now) => now.some(({ event }) => event === 'file.committed'));
    expect(found.every(({ requestId }) => requestId === 'trace.me-1')).to.equal(true);
    expect(cluster().log).not.to.include(token);
  });

  it('leave the documentation without a request to anywhere else', async () => {
    const page = await ask('GET', '/docs');
    const policy = String(page.headers['content-security-policy']);
    expect(policy)
      .to.match(/^default-src 'none'; script-src 'self'; .*connect-src 'self';/)
      .and.not.match(/https?:/);
    const addresses = [...page.body.matchAll(/(?:src|href)="([^"]*)"/g)].map(([, address]) => address ?? '');
    const assets = addresses.filter((address) => address !== 'data:,');
    expect(assets).to.have.length(3);
    for (const address of assets) {
      expect(address).to.match(/^\/docs\//);
      const asset = await ask('GET', address);
      expect(asset.status, address).to.equal(200);
      // What scripts name is kept in by the policy; a style sheet asks for all that it names.
      const named = address.endsWith('.css') ? [...asset.body.matchAll(/url\(["']?([^)"']{5})/g)] : [];
      expect(
        named.filter(([, begin]) => begin !== 'data:'),
        address,
      ).to.deep.equal([]);
      expect(asset.body, address).not.to.match(/@import/);
    }
    const start = await ask('GET', '/docs/start.js');
    expect([...start.body.matchAll(/url: '([^']*)'/g)].map(([, address]) => address)).to.deep.equal(['/openapi.json']);
    expect(start.body)
      .to.include('validatorUrl: null')
      .and.not.match(/https?:/);
    const document = JSON.parse((await ask('GET', '/openapi.json')).body) as { servers: { url: string }[] };
    expect(document.servers).to.deep.equal([{ url: '/' }]);
  });
});

writeFileSync(certFile, CERTIFICATE);
writeFileSync(keyFile, CERTIFICATE_KEY, { mode: 0o600 });

/** Commands that go through a gateway: logging in, where commands go, and what is kept of it. */
import { chmod, mkdtemp, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { sendUnaryData, ServerUnaryCall, UntypedHandleCall } from '@grpc/grpc-js';
import { expect } from 'chai';
import { gatewayUrl, isReadableByOthers } from '../../cli/connect/gateway-url.js';
import { NexusError } from '../../shared/errors.js';
import { ListNodesResponse } from '../../shared/gen/nexus/v1/node.js';
import { statusOf } from '../../shared/rpc/status.js';
import { runNexus, type CommandOutcome } from '../support/fake-controller.js';
import { GrpcGateway } from '../support/grpc-gateway.js';

const HOUR_MS = 3_600_000;

/** What a controller says about accounts: one user, one code, and the tokens that it has given out. */
class Accounts {
  readonly tokens = new Set<string>();
  readonly asked: Record<string, unknown>[] = [];
  lifeMs = HOUR_MS;

  readonly answers: Readonly<Record<string, UntypedHandleCall>> = {
    initLogin: this.#open((request: { username: string; password: string }) => {
      this.asked.push(request);
      if (request.password !== 'right') throw new NexusError('unauthenticated', 'the password is wrong');
      return { codeExpiresAt: '' };
    }),
    initRegistration: this.#open((request: Record<string, unknown>) => {
      this.asked.push(request);
      return { codeExpiresAt: '' };
    }),
    verifyLogin: this.#open((request: { code: string }) => this.#redeem(request)),
    verifyRegistration: this.#open((request: { code: string }) => this.#redeem(request)),
    whoAmI: this.#proved(() => ({ username: 'alice', role: 'user', email: 'alice@example.org', tokenId: 't' })),
    logout: this.#proved((token) => {
      this.tokens.delete(token);
      return {};
    }),
    listNodes: this.#proved(() => ListNodesResponse.fromPartial({})),
  };

  #redeem(request: { code: string }): unknown {
    this.asked.push(request);
    if (request.code !== '123456') throw new NexusError('unauthenticated', 'the code is wrong');
    const token = `token-${this.tokens.size}`;
    this.tokens.add(token);
    return { session: { username: 'alice', token, expiresAt: new Date(Date.now() + this.lifeMs).toISOString() } };
  }

  #open(make: (request: never) => unknown): UntypedHandleCall {
    return (call: ServerUnaryCall<unknown, unknown>, done: sendUnaryData<unknown>) => {
      try {
        done(null, make(call.request as never));
      } catch (error) {
        done(statusOf(error as NexusError));
      }
    };
  }

  #proved(make: (token: string) => unknown): UntypedHandleCall {
    return (call: ServerUnaryCall<unknown, unknown>, done: sendUnaryData<unknown>) => {
      const token = String(call.metadata.get('authorization')[0]).replace('Bearer ', '');
      if (this.tokens.has(token)) done(null, make(token));
      else done(statusOf(new NexusError('unauthenticated', 'the token was revoked')));
    };
  }
}

describe('a command line that is logged in', () => {
  let folder: string;
  let accounts: Accounts;
  let gateway: GrpcGateway;

  beforeEach(async () => {
    folder = await mkdtemp(join(tmpdir(), 'nexus-login-'));
    accounts = new Accounts();
    gateway = await GrpcGateway.start(accounts.answers);
  });
  afterEach(async () => {
    await gateway[Symbol.asyncDispose]();
    await rm(folder, { recursive: true });
  });

  const file = (): string => join(folder, 'nexus', 'sessions.json');
  const run = (argv: readonly string[], input = '', env: NodeJS.ProcessEnv = {}): Promise<CommandOutcome> =>
    runNexus(argv, { XDG_CONFIG_HOME: folder, NEXUS_STATE_DIR: '/nonexistent', ...env }, input);
  const logIn = (): Promise<CommandOutcome> => run(['login', gateway.url], 'alice\nright\n123456\n');

  it('asks for name, password and code, keeps the session to itself, and goes there from then on', async () => {
    const { exitCode, stdout, stderr } = await logIn();
    expect({ exitCode, stderr }).to.deep.equal({
      exitCode: 0,
      stderr: 'a code is on its way to the mail address of the account\n',
    });
    expect(stdout)
      .to.match(/^logged in to: +http:\S+\nas: +alice\nuntil: +\S+\n$/)
      .and.not.include('token-');
    expect((await stat(file())).mode & 0o777).to.equal(0o600);
    expect((await stat(join(folder, 'nexus'))).mode & 0o777).to.equal(0o700);
    expect(accounts.asked).to.deep.equal([
      { username: 'alice', password: 'right' },
      { email: '', username: 'alice', code: '123456' },
    ]);
    expect(await run(['node', 'ls', '-o', 'json'])).to.deep.equal({ exitCode: 0, stdout: '[]\n', stderr: '' });
    const me = JSON.parse((await run(['whoami', '-o', 'json'])).stdout) as object;
    expect(me).to.deep.include({ username: 'alice', role: 'user', url: gateway.url, token_id: 't' });
  });

  it('takes the password from a file, and a mail address for a name', async () => {
    const secret = join(folder, 'secret');
    await writeFile(secret, 'right\n');
    const line = ['login', gateway.url, '--user', 'Alice@example.org', '--password-file', secret, '-o', 'json'];
    const { stdout } = await run(line, '123456');
    expect(JSON.parse(stdout)).to.include({ url: gateway.url, username: 'alice' });
    expect(accounts.asked[1]).to.include({ email: 'Alice@example.org', username: '' });
  });

  it('registers', async () => {
    const { exitCode } = await run(['register', gateway.url], 'alice\nalice@example.org\nlong enough\n123456\n');
    expect(exitCode).to.equal(0);
    expect(accounts.asked[0]).to.deep.equal({
      username: 'alice',
      email: 'alice@example.org',
      password: 'long enough',
    });
    expect(await run(['whoami'])).to.include({ exitCode: 0 });
  });

  it('keeps nothing of a login that failed', async () => {
    expect(await run(['login', gateway.url], 'alice\nwrong\n')).to.include({
      exitCode: 4,
      stderr: 'nexus: the password is wrong\n',
    });
    expect(await run(['login', gateway.url], 'alice\nright\n000000\n')).to.include({ exitCode: 4 });
    expect(await run(['login', gateway.url], 'alice\nright\n')).to.include({ exitCode: 2 });
    expect(await run(['login', 'http://127.0.0.1:1'], 'alice\nright\n123456\n')).to.include({ exitCode: 5 });
    expect(await run(['login'], '')).to.include({ exitCode: 2 });
    expect(await stat(file()).catch(() => undefined)).to.equal(undefined);
  });

  it('logs out: the token is void, and commands stay on this machine', async () => {
    await logIn();
    expect((await run(['logout'])).stdout).to.equal(`logged out of ${gateway.url}\n`);
    expect([...accounts.tokens]).to.deep.equal([]);
    expect(await readFile(file(), 'utf8')).not.to.include('token-');
    expect((await run(['logout'])).stderr).to.include('not logged in');
    const { exitCode, stderr } = await run(['node', 'ls'], '', { NEXUS_URL: gateway.url });
    expect({ exitCode, stderr }).to.deep.equal({
      exitCode: 4,
      stderr: `nexus: you are not logged in; run: nexus login ${gateway.url}\n`,
    });
  });

  it('says how to go on when the session has been revoked or has expired', async () => {
    await logIn();
    accounts.tokens.clear();
    expect(await run(['node', 'ls'])).to.include({
      exitCode: 4,
      stderr: `nexus: the token was revoked; run: nexus login ${gateway.url}\n`,
    });
    expect((await run(['logout'])).stdout).to.include('the token was void already');
    accounts.lifeMs = -1;
    await logIn();
    const { exitCode, stderr } = await run(['node', 'ls']);
    expect(exitCode).to.equal(4);
    expect(stderr).to.match(/your login has ended at .*; run: nexus login http/);
  });

  it('keeps a login whose gateway does not answer, until it is told to forget it', async () => {
    await logIn();
    const saved = JSON.parse(await readFile(file(), 'utf8')) as { current: string; sessions: { url: string }[] };
    const gone = 'http://127.0.0.1:1';
    saved.sessions.push({ ...saved.sessions[0], url: gone });
    await writeFile(file(), JSON.stringify({ ...saved, current: gone }), { mode: 0o600 });
    const refused = await run(['logout']);
    expect(refused.exitCode).to.equal(5);
    expect(refused.stderr).to.include('no gateway answers').and.include('--forget');
    expect(await run(['logout', '--forget'])).to.include({ exitCode: 0 });
    expect(await run(['whoami', '--url', gateway.url])).to.include({ exitCode: 0 });
  });

  it('goes where the nearest word says: flags, then variables, then the login', async () => {
    await logIn();
    const socket = join(folder, 'none.sock');
    const local = { NEXUS_SOCKET: socket, NEXUS_RUNTIME: 'process' };
    const goesLocal = { exitCode: 5, stderr: 'nexus: the cluster "nexus" is not running; start it with: nexus up\n' };
    expect(await run(['node', 'ls'], '', local)).to.include(goesLocal);
    expect(await run(['node', 'ls', '--local'], '', { ...local, NEXUS_URL: gateway.url })).to.include(goesLocal);
    expect(await run(['node', 'ls', '--as', 'bob'], '', { ...local, NEXUS_URL: gateway.url })).to.include(goesLocal);
    expect(await run(['node', 'ls'], '', { ...local, NEXUS_URL: gateway.url })).to.include({ exitCode: 0 });
    expect(await run(['node', 'ls', '--url', `${gateway.url}/`], '', local)).to.include({ exitCode: 0 });
    const both = await run(['node', 'ls', '--url', gateway.url, '--instance', 'other']);
    expect(both).to.include({ exitCode: 2 });
    expect(both.stderr).to.include('--url and --instance exclude each other');
  });

  for (const words of [['up'], ['down', '--purge'], ['doctor'], ['daemon']]) {
    it(`does not do here what was meant for there: nexus ${words.join(' ')}`, async () => {
      await logIn();
      const { exitCode, stdout, stderr } = await run(words);
      expect({ exitCode, stdout }).to.deep.equal({ exitCode: 4, stdout: '' });
      expect(stderr).to.match(/acts on the machine where it runs.*add --local, or log out with nexus logout\n$/);
      expect((await run([...words, '--url', gateway.url])).stderr).to.include('or leave out --url');
    });
  }

  it('refuses a session file that others can read, or that is damaged', async () => {
    await logIn();
    await chmod(file(), 0o640);
    expect((await run(['node', 'ls'])).stderr)
      .to.include('can be read by others')
      .and.include('chmod 600');
    await chmod(file(), 0o600);
    await writeFile(file(), '{"sessions": [');
    expect((await run(['node', 'ls'])).stderr).to.include('is damaged; remove it');
  });
});

describe('the URL of a gateway', () => {
  it('has one spelling', () => {
    for (const text of ['http://Host:80', 'http://host', 'http://host/', 'HTTP://host:80/']) {
      expect(gatewayUrl(text, 'URL')).to.equal('http://host');
    }
    expect(gatewayUrl('https://[::1]:8443', 'URL')).to.equal('https://[::1]:8443');
  });

  for (const text of ['host:8080', 'host', '', 'ftp://host', 'http://a:b@host', 'http://host/path', 'http://host?x']) {
    it(`refuses "${text}"`, () => {
      expect(() => gatewayUrl(text, 'URL')).to.throw(/^URL ".*; give for example https:/);
    });
  }

  it('tells where a password could be read on its way', () => {
    const readable = ['http://10.0.0.1', 'http://example.org', 'http://127.example.org', 'http://[fe80::1]'];
    const safe = [
      'https://example.org',
      'http://localhost:8080',
      'http://127.0.0.1',
      'http://127.1.2.3',
      'http://[::1]',
    ];
    expect(readable.filter(isReadableByOthers)).to.deep.equal(readable);
    expect(safe.filter(isReadableByOthers)).to.deep.equal([]);
  });
});

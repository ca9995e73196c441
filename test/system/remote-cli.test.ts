/** The command line from another machine: everything goes through the gateway, as a user of the host without any rights. */
import { spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { createHash, randomBytes } from 'node:crypto';
import { accessSync, constants, copyFileSync, mkdirSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect } from 'chai';
import { spawn } from 'node-pty';
import { MIB } from '../../shared/limits.js';
import { eventually, PROJECT, type NodeJson } from '../support/cluster.js';
import { RemoteUser } from '../support/remote-user.js';
import { describeWithCluster } from '../support/system.js';

interface StatusJson {
  readonly gateway: { readonly url: string; readonly pid: number; readonly ready: boolean };
}
interface FileJson {
  readonly id: string;
  readonly name: string;
  readonly owner: string;
}

const digest = (path: string): string => createHash('sha256').update(readFileSync(path)).digest('hex');

describeWithCluster('the command line through the gateway', { gateway: true }, (cluster) => {
  const users = new Map<string, RemoteUser>();
  const user = (name: string): RemoteUser => {
    const found = users.get(name);
    if (found === undefined) throw new Error(`there is no ${name}`);
    return found;
  };
  let url = '';

  const gatewayWhen = async (check: (gateway: StatusJson['gateway']) => boolean): Promise<StatusJson['gateway']> => {
    const { gateway } = await eventually(
      () => cluster().json<StatusJson>('status'),
      (now) => check(now.gateway),
    );
    return gateway;
  };

  before(async () => {
    ({ url } = await gatewayWhen(({ ready }) => ready));
    for (const [name, role] of [
      ['alice', 'user'],
      ['bob', 'user'],
      ['root-ann', 'admin'],
    ] as const) {
      const password = `the password of ${name}`;
      const line = ['user', 'create', name, '--email', `${name}@example.org`, '--role', role];
      const made = await cluster().runWith({ input: `${password}\n` }, ...line);
      expect(made, made.stderr).to.include({ code: 0 });
      users.set(name, new RemoteUser(cluster(), name, password));
      expect(await user(name).logIn(url)).to.include({ code: 0 });
    }
  });
  after(() => {
    for (const one of users.values()) one.dispose();
  });

  it('knows who is there, keeps the session private, and needs nothing else of the host', async () => {
    const me = await user('alice').json<object>('whoami');
    expect(me).to.deep.include({ username: 'alice', role: 'user', email: 'alice@example.org', url });
    expect(statSync(user('alice').sessionFile).mode & 0o777).to.equal(0o600);
    expect(readFileSync(user('alice').sessionFile, 'utf8')).not.to.include(user('alice').password);
    for (const socket of [cluster().socket, join(cluster().runDir, 'gateway.sock')]) {
      expect(statSync(socket).mode & 0o007, socket).to.equal(0);
      accessSync(socket, constants.F_OK);
    }
  });

  it('lets an administrator make nodes, and users see them and no more', async () => {
    for (const name of ['web-1', 'web-2']) await user('root-ann').ok('node', 'create', name, '--storage', '256M');
    const seen = await user('alice').json<NodeJson[]>('node', 'ls');
    expect(seen.map(({ name, status }) => [name, status])).to.deep.equal([
      ['web-1', 'Running'],
      ['web-2', 'Running'],
    ]);
    const refused = await user('alice').run('node', 'create', 'mine', '--storage', '64M');
    expect(refused).to.include({ code: 4 });
    expect(await user('alice').run('node', 'exec', 'web-1', '--', 'id')).to.include({ code: 4 });
    expect(await user('alice').run('user', 'ls')).to.include({ code: 4 });
  });

  it('stores files and folders and brings them back, byte for byte', async () => {
    const alice = user('alice');
    const source = join(alice.home, 'data.bin');
    writeFileSync(source, randomBytes(30 * MIB + 123));
    alice.own(source);
    const file = await alice.json<FileJson>('file', 'upload', source, '--replicas', '2');
    expect(file).to.include({ name: 'data.bin', owner: 'alice' });
    await alice.ok('file', 'download', file.id.slice(0, 6), join(alice.home, 'back.bin'));
    expect(digest(join(alice.home, 'back.bin'))).to.equal(digest(source));
    expect(await alice.json('file', 'verify', file.id)).to.deep.include({ ok: true, replicas: 8 });
    const part = await alice.run('file', 'download', file.id, '-', '--range', '5-9');
    expect(part).to.include({ code: 0 });

    const folder = join(alice.home, 'photos');
    mkdirSync(join(folder, 'sub'), { recursive: true });
    for (const name of ['a', 'sub/b']) writeFileSync(join(folder, name), randomBytes(MIB));
    await alice.ok('fs', 'upload', folder, '/');
    await alice.ok('fs', 'download', '/photos', join(alice.home, 'copy'));
    for (const name of ['a', 'sub/b']) {
      expect(digest(join(alice.home, 'copy', name))).to.equal(digest(join(folder, name)));
    }
    expect((await alice.runWith(Buffer.from('from a pipe'), 'fs', 'upload', '-', '/piped')).code).to.equal(0);
    expect((await alice.run('fs', 'download', '/piped', '-')).stdout).to.equal('from a pipe');
  });

  it('shows nobody what is another’s: not by list, id, path or check', async () => {
    const bob = user('bob');
    const [file] = await user('alice').json<FileJson[]>('file', 'ls');
    const id = file?.id ?? '';
    expect(await bob.json('file', 'ls')).to.deep.equal([]);
    expect(await bob.json('fs', 'ls')).to.deep.equal([]);
    const lines = [
      ['file', 'stat', id],
      ['file', 'where', id],
      ['file', 'verify', id],
      ['file', 'download', id, '-'],
      ['file', 'rm', id],
      ['fs', 'stat', '/piped'],
      ['fs', 'download', '/piped', '-'],
      ['fs', 'rm', '/piped'],
      ['fs', 'mv', '/piped', '/mine'],
    ];
    for (const line of lines) expect(await bob.run(...line), line.join(' ')).to.include({ code: 3, stdout: '' });
    expect(await bob.run('fs', 'quota', '--user', 'alice')).to.include({ code: 4 });
    expect(await user('alice').json('file', 'verify', id)).to.deep.include({ ok: true });
  });

  it('keeps to the quota', async () => {
    await user('root-ann').ok('user', 'set-quota', 'bob', '10M');
    const path = join(user('bob').home, 'large');
    writeFileSync(path, randomBytes(11 * MIB));
    user('bob').own(path);
    const refused = await user('bob').run('file', 'upload', path);
    expect(refused).to.include({ code: 4, stdout: '' });
    expect(refused.stderr).to.include('quota');
    expect(await user('bob').json('fs', 'quota')).to.deep.include({ used: 0, reserved: 0, limit: 10 * MIB });
  });

  it('runs commands in nodes, with their input, output and exit code', async () => {
    const ann = user('root-ann');
    const said = await ann.run('node', 'exec', 'web-1', '--', 'sh', '-c', 'echo out; echo err >&2; exit 7');
    expect(said).to.deep.equal({ code: 7, stdout: 'out\n', stderr: 'err\n' });
    const input = randomBytes(2 * MIB).toString('hex');
    const counted = await ann.runWith(input, 'node', 'exec', '-i', 'web-1', '--', 'wc', '-c');
    expect(counted).to.deep.equal({ code: 0, stdout: `${input.length}\n`, stderr: '' });
  });

  it('gives a terminal in a node, with its size, its keys and its exit code', async () => {
    const { home } = user('root-ann');
    const args = [join(PROJECT, 'dist', 'cli', 'main.js'), 'node', 'exec', '-it', 'web-1', '--', 'sh'];
    const env = { PATH: process.env['PATH'], HOME: home, TERM: 'xterm' };
    const terminal = spawn(process.execPath, args, { cols: 91, rows: 31, cwd: home, uid: 65_534, gid: 65_534, env });
    let shown = '';
    terminal.onData((data) => {
      shown += data;
    });
    const ended = new Promise<number>((resolve) => {
      terminal.onExit(({ exitCode }) => {
        resolve(exitCode);
      });
    });
    const seen = (what: RegExp) =>
      eventually(
        () => shown,
        (now) => what.test(now),
      );
    try {
      terminal.write('stty size\r');
      await seen(/31 91/);
      terminal.write('echo rea""dy; sleep 100\r');
      await seen(/\nready/);
      terminal.write('\x03');
      terminal.write('echo code $?\r');
      await seen(/code 130/);
      terminal.write('exit 9\r');
      expect(await ended).to.equal(9);
    } finally {
      terminal.kill();
    }
  });

  it('follows logs and events until it is interrupted', async () => {
    const ann = user('root-ann');
    for (const [line, sign] of [
      [['node', 'logs', 'web-1', '-f'], '{'],
      [['events', '-f'], 'node.cordoned'],
    ] as const) {
      const child = ann.start(line);
      let output = '';
      child.stdout?.on('data', (data: Buffer) => (output += data.toString('utf8')));
      await eventually(
        () => output,
        (now) => now !== '',
      );
      await ann.ok('node', 'cordon', 'web-2');
      await ann.ok('node', 'uncordon', 'web-2');
      await eventually(
        () => output,
        (now) => now.includes(sign),
      );
      const closed = once(child, 'close');
      child.kill('SIGINT');
      expect(await closed, line.join(' ')).to.deep.equal([130, null]);
    }
  });

  it('goes on when the gateway has been started anew, and says meanwhile that it is away', async () => {
    const { pid } = await gatewayWhen(({ ready }) => ready);
    const following = user('root-ann').start(['events', '-f']);
    const closed = once(following, 'close') as Promise<[number]>;
    following.stderr?.resume();
    await once(following.stdout ?? following, 'data');
    process.kill(pid, 'SIGTERM');
    expect((await closed)[0]).to.equal(5);
    await gatewayWhen((now) => now.ready && now.pid !== pid);
    expect(await user('alice').json('whoami')).to.include({ username: 'alice' });
  });

  it('goes on when the controller has been started anew, and says meanwhile that it is away', async () => {
    await cluster().killController('SIGKILL');
    const away = await user('alice').run('node', 'ls');
    expect(away).to.include({ code: 5, stdout: '' });
    await cluster().startController();
    await gatewayWhen(({ ready }) => ready);
    const found = await user('alice').json<FileJson[]>('file', 'ls');
    expect(found.map(({ name }) => name)).to.include('data.bin');
  });

  it('does nothing on this machine that was meant for that one', async () => {
    for (const line of [['up'], ['down'], ['doctor'], ['daemon']]) {
      const { code, stderr } = await user('alice').run(...line);
      expect(code, line.join(' ')).to.equal(4);
      expect(stderr).to.include(`your commands go to ${url}; add --local`);
    }
    // The launcher, too, which would install and build what is missing before it starts the command line.
    const env = { PATH: process.env['PATH'], HOME: user('alice').home };
    const launched = spawnSync(join(PROJECT, 'nexus'), ['up'], { env, encoding: 'utf8' });
    expect(launched).to.include({ status: 4, stdout: '' });
    expect(launched.stderr).to.match(/^nexus: this command acts on the machine where it runs/);
  });

  it('ends with the logout, for copies of the session too; and with the account', async () => {
    const alice = user('alice');
    const kept = join(alice.home, 'kept.json');
    copyFileSync(alice.sessionFile, kept);
    expect(await alice.run('logout')).to.include({ code: 0 });
    expect(await alice.run('logout')).to.include({ code: 4 });
    copyFileSync(kept, alice.sessionFile);
    const { code, stderr } = await alice.run('file', 'ls');
    expect(code).to.equal(4);
    expect(stderr).to.include(`run: nexus login ${url}`);

    for (const line of [
      ['set-role', 'root-ann', 'user'],
      ['disable', 'root-ann'],
    ]) {
      const refused = await user('root-ann').run('user', ...line);
      expect(refused, line.join(' ')).to.include({ code: 4 });
      expect(refused.stderr).to.include('the last administrator');
    }
    await user('root-ann').ok('user', 'disable', 'bob');
    expect(await user('bob').run('file', 'ls')).to.include({ code: 4 });
    expect((await user('bob').runWith(`bob\n${user('bob').password}\n`, 'login', url)).code).to.equal(4);
    const audit = await user('root-ann').json<{ action: string; actor: string; address: string }[]>(
      ...['user', 'audit', 'bob'],
    );
    expect(audit[1]).to.include({ action: 'user.disabled', actor: 'root-ann', address: '127.0.0.1' });
  });
});

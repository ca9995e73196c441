/** The installation: into a folder, over an older one whose agents run on, and away again without a trace. */
import { execFile, spawn } from 'node:child_process';
import { randomBytes, randomInt } from 'node:crypto';
import {
  chmodSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { expect } from 'chai';
import { VERSION } from '../../shared/version.js';
import { eventually, PROJECT, TestCluster, type NodeJson } from '../support/cluster.js';
import { residueOf } from '../support/residue.js';
import { skipWithoutSystem } from '../support/system.js';

const execute = promisify(execFile);
const OLDER = '0.0.9';

describe('an installation', function () {
  this.timeout(600_000);
  // Only its names are used: the installed program starts what runs.
  const { instance, stateDir, runDir, folder: unused } = new TestCluster();
  rmSync(unused, { recursive: true });
  const folder = mkdtempSync(join(tmpdir(), 'nexus-install-'));
  const prefix = join(folder, 'opt');
  const env = {
    ...process.env,
    NEXUS_INSTANCE: instance,
    BINDIR: join(folder, 'bin'),
    UNITDIR: join(folder, 'units'),
    SYSCONFDIR: join(folder, 'etc'),
  };
  const installer = async (...args: string[]): Promise<string> =>
    (await execute(join(PROJECT, 'deploy', 'install.sh'), [`--prefix=${prefix}`, ...args], { env })).stdout;
  const nexus = async (...args: string[]): Promise<string> =>
    (await execute(join(folder, 'bin', 'nexus'), args, { env })).stdout;
  const json = async <T>(...args: string[]): Promise<T> => JSON.parse(await nexus(...args, '-o', 'json')) as T;

  before(function () {
    skipWithoutSystem(this);
  });
  after(async () => {
    if (existsSync(prefix)) await installer('--uninstall', '--purge');
    rmSync(folder, { recursive: true, force: true });
    expect(residueOf(instance)).to.deep.equal([]);
  });

  it('refuses folders that hold other things', async () => {
    const run = (...args: string[]): Promise<number> =>
      execute(join(PROJECT, 'deploy', 'install.sh'), args, { env }).then(
        () => 0,
        (error: unknown) => (error as { code: number }).code,
      );
    for (const system of [
      '/',
      '/usr',
      '/usr/bin',
      '/lib64',
      '/usr/share/',
      '//sbin',
      '/usr/local/bin',
      '/tmp',
      '/var/lib',
    ])
      expect(await run('--prefix', system, '--uninstall'), system).to.equal(2);
    expect(await run('--prefix', 'relative')).to.equal(2);
    expect(await run(`--prefix=${folder}/../..`)).to.equal(2);
    expect(await run('--purge')).to.equal(2);
    const other = join(folder, 'other');
    mkdirSync(other);
    writeFileSync(join(other, 'precious'), '');
    expect(await run('--prefix', other, '--uninstall')).to.equal(1);
    expect(await run('--prefix', other)).to.equal(1);
    expect(existsSync(join(other, 'precious'))).to.equal(true);
  });

  it('refuses prefixes that units could not hold, and says why', async () => {
    for (const name of ['a&b', 'a b', 'a|b', 'a%b', 'ä']) {
      const refused = await execute(join(PROJECT, 'deploy', 'install.sh'), [`--prefix=${folder}/${name}`], {
        env,
      }).then(
        () => ({ code: 0, stderr: '' }),
        (error: unknown) => error as { code: number; stderr: string },
      );
      expect(refused.code, name).to.equal(2);
      expect(refused.stderr).to.include('--prefix may have letters, digits and').and.include(`/${name}'`);
    }
    expect(readdirSync(folder)).to.deep.equal(['other']);
  });

  it('is complete: units that systemd understands, settings that load, a program that runs', async () => {
    expect(await installer()).to.include(`installed in ${prefix}`);
    const units = readdirSync(join(folder, 'units')).map((name) => join(folder, 'units', name));
    expect(units.sort()).to.deep.equal(
      ['controller', 'gateway'].map((name) => join(folder, 'units', `nexus-${name}.service`)),
    );
    expect(await execute('systemd-analyze', ['verify', ...units])).to.deep.equal({ stdout: '', stderr: '' });
    expect(readFileSync(units[0] ?? '', 'utf8'))
      .to.include(`${prefix}/dist/`)
      .and.not.include('/opt/nexus/dist');
    expect(await nexus('--version')).to.equal(`nexus ${VERSION}\n`);
    expect(existsSync(join(prefix, 'node_modules', 'typescript'))).to.equal(false);
    const modules = readdirSync(join(prefix, 'node_modules'), { recursive: true, encoding: 'utf8' });
    expect(modules.filter((name) => /\.(d\.[cm]?ts|map)$/.test(name))).to.deep.equal([]);
  });

  it('of an older version runs nodes that the newer one adopts, old agents and all', async () => {
    // The older version: its agent has another number, and lacks a field that the newer one has.
    const files = readdirSync(join(prefix, 'dist', 'agent')).map((name) => join(prefix, 'dist', 'agent', name));
    const bundle = files.find((file) => /agent-[^.]+\.cjs$/.test(file)) ?? '';
    // Its bytecode is of the newer version's agent.
    for (const file of files.filter((name) => name.startsWith(`${bundle}.`))) rmSync(file);
    const text = readFileSync(bundle, 'utf8');
    const older = text.replaceAll(`"${VERSION}"`, `"${OLDER}"`).replaceAll('checksum_failures:', 'was_called_so:');
    expect(older).to.not.equal(text);
    writeFileSync(bundle, older);
    await nexus('up');
    await nexus('node', 'create', 'one', '--storage', '64M');
    const source = join(folder, 'source');
    writeFileSync(source, randomBytes(3_000_000));
    const file = await json<{ id: string }>('file', 'upload', source);
    const before = await json<NodeJson & { agent_version: string }>('node', 'inspect', 'one');
    expect(before.agent_version).to.equal(OLDER);

    await installer();
    expect(existsSync(`${prefix}.previous`), 'the old version stays for nodes that need it').to.equal(true);
    const { controller } = await json<{ controller: { pid: number } }>('status');
    expect(controller.pid).to.be.greaterThan(1);
    process.kill(controller.pid, 'SIGTERM');
    await eventually(
      () => existsSync(`/proc/${controller.pid}`),
      (isThere) => !isThere,
    );
    await nexus('up');

    // Its version comes with the first heartbeat that the new controller hears.
    const after = await eventually(
      () => json<NodeJson & { agent_version: string }>('node', 'inspect', 'one'),
      ({ agent_version: version }) => version !== '',
    );
    expect(after).to.include({ pid: before.pid, status: 'Running', agent_version: OLDER });
    expect(await json<{ version: string }>('status')).to.include({ version: VERSION });
    await nexus('file', 'download', file.id, join(folder, 'copy'));
    expect(readFileSync(join(folder, 'copy')).equals(readFileSync(source))).to.equal(true);
    await nexus('file', 'upload', source);
    expect(await nexus('file', 'verify', file.id)).to.not.equal('');
    expect(await nexus('agent', 'inspect', 'one'))
      .to.include(`version ${OLDER}`)
      .and.match(/0 damaged/);
    expect(await nexus('node', 'exec', 'one', '--', 'echo', 'hello')).to.equal('hello\n');

    await nexus('node', 'restart', 'one');
    const anew = await json<{ agent_version: string }>('node', 'inspect', 'one');
    expect(anew.agent_version).to.equal(VERSION);
  });

  it('goes away and keeps the state, which a later one finds again', async () => {
    await installer('--uninstall');
    expect(existsSync(stateDir)).to.equal(true);
    for (const made of ['bin', 'units']) expect(existsSync(join(folder, made)), made).to.equal(false);
    for (const path of [prefix, `${prefix}.previous`, join(folder, 'etc')])
      expect(existsSync(path), path).to.equal(false);
    await installer();
    await nexus('up');
    expect((await json<NodeJson[]>('node', 'ls')).map(({ name }) => name)).to.deep.equal(['one']);
  });

  it('runs from where nothing can be written, with an agent runtime that another host has built', async () => {
    const inputs = join(prefix, 'dist', '.runtime-inputs');
    const known = readFileSync(inputs, 'utf8');
    writeFileSync(inputs, known.replaceAll(/^\d+ \d+/gm, '1 1'));
    // In a mount namespace of its own, which takes the mount along when it ends.
    const check = (mount: string): Promise<number> =>
      execute('unshare', ['--mount', 'sh', '-c', `${mount} "$0/deploy/agent-runtime.sh" --check`, prefix]).then(
        () => 0,
        (error: unknown) => (error as { code: number }).code,
      );
    const readOnly = 'mount --bind "$0" "$0" && mount -o remount,bind,ro "$0" &&';
    expect(await check('')).to.equal(1);
    expect(await check(readOnly)).to.equal(0);
    const node = join(prefix, 'dist', 'runtime', 'bin', 'node');
    renameSync(node, `${node}.away`);
    expect(await check(readOnly)).to.equal(1);
    renameSync(`${node}.away`, node);
    writeFileSync(inputs, known);
  });

  it('has a unit for the gateway whose command works as its user, beside a controller that runs none', async () => {
    const unit = readFileSync(join(folder, 'units', 'nexus-gateway.service'), 'utf8');
    const line = (key: string): string => new RegExp(`^${key}=(.*)$`, 'm').exec(unit)?.[1] ?? '';
    const places = line('Environment').replace('/run/nexus', runDir).replace('/var/lib/nexus', stateDir);
    await nexus('down');
    await execute(join(folder, 'bin', 'nexus'), ['up'], { env: { ...env, NEXUS_GATEWAY: 'off' } });
    expect(await json<{ gateway: { url: string } }>('status')).to.nested.include({ 'gateway.url': '' });
    // Of this test's folder alone: /opt is open to everybody.
    chmodSync(folder, 0o755);
    const user = ['--reuid', line('User'), '--regid', line('Group'), '--clear-groups'];
    const locked = ['--no-new-privs', '--bounding-set=-all', '--inh-caps=-all'];
    const port = 20_000 + randomInt(10_000);
    const variables = [...places.split(' '), `NEXUS_INSTANCE=${instance}`, `NEXUS_GATEWAY_PORT=${port}`];
    const gateway = spawn(
      'setpriv',
      [...user, ...locked, '--', 'env', '-i', ...variables, ...line('ExecStart').split(' ')],
      { stdio: 'ignore' },
    );
    try {
      const get = (path: string) => fetch(`http://127.0.0.1:${port}${path}`).then((response) => response.text());
      await eventually(
        () => get('/readyz').catch(() => ''),
        (text) => text.includes('ready'),
      );
      expect(await get('/metrics')).to.match(/^nexus_up 1$/m);
      expect(readFileSync(`/proc/${String(gateway.pid)}/status`, 'utf8')).to.match(/^Uid:\t[1-9]/m);
    } finally {
      gateway.kill('SIGTERM');
    }
    expect(await new Promise((resolve) => gateway.once('exit', resolve))).to.equal(0);
  });

  it('leaves the settings sample to another one that still has the command', async () => {
    const packageEnv = { ...process.env, DESTDIR: join(folder, 'package') };
    const run = (...args: string[]): Promise<unknown> =>
      execute(join(PROJECT, 'deploy', 'install.sh'), args, { env: packageEnv });
    const etc = join(packageEnv.DESTDIR, 'etc', 'nexus');
    await run('--prefix', '/opt/first');
    await run('--prefix', '/opt/second');
    await run('--prefix', '/opt/first', '--uninstall');
    expect(existsSync(join(etc, 'nexus.sample.yaml'))).to.equal(true);
    const unit = readFileSync(join(packageEnv.DESTDIR, 'etc/systemd/system/nexus-controller.service'), 'utf8');
    expect(unit).to.include(' /opt/second/dist/controller/main.js');
    await run('--prefix', '/opt/second', '--uninstall');
    expect(existsSync(etc)).to.equal(false);
    expect(readdirSync(join(packageEnv.DESTDIR, 'opt'))).to.deep.equal([]);
  });

  it('goes away with all that there was, and leaves what is not its own', async () => {
    // A file in a folder that it made, and settings that it never read.
    const kept = [join(folder, 'units', 'other.service'), join(folder, 'etc', 'nexus.yaml')];
    for (const file of kept) writeFileSync(file, '');
    expect(await installer('--uninstall', '--purge')).to.include(`removed ${prefix} and its state;`);
    for (const file of kept) expect(existsSync(file), file).to.equal(true);
    expect(residueOf(instance)).to.deep.equal([]);
    expect(existsSync(prefix)).to.equal(false);
    expect(readdirSync(join(folder, 'units'))).to.deep.equal(['other.service']);
    expect(existsSync(join(folder, 'bin'))).to.equal(false);
  });
});

/** What somebody who is root in a node can do to the node's own start, end and neighbours, on the real kernel. */
import { expect } from 'chai';
import { randomBytes } from 'node:crypto';
import { readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { runCommand } from '../../shared/exec.js';
import { eventually, type CliResult, type NodeJson } from '../support/cluster.js';
import { MIB } from '../../shared/limits.js';
import { describeWithCluster } from '../support/system.js';

interface Row {
  readonly name: string;
  readonly held: boolean;
  readonly by: string;
}

describeWithCluster('a node whose root means ill', {}, (cluster) => {
  const inspect = (name: string): Promise<NodeJson> => cluster().json<NodeJson>('node', 'inspect', name);
  const sh = (node: string, script: string): Promise<CliResult> =>
    cluster().run('node', 'exec', node, '--', 'sh', '-c', script);

  before(async () => {
    await cluster().ok('node', 'create', 'a', '--mem', '128', '--storage', '64M');
  });

  it('is held by every barrier that the escape suite tries, on nodes that it removes again', async function () {
    this.timeout(900_000);
    // Its exit code says that one got through, too; the rows say which.
    const { stdout, stderr } = await cluster().run('node', 'selftest', '--output', 'json');
    expect(stdout, stderr).not.to.equal('');
    const rows = JSON.parse(stdout) as Row[];
    expect(rows.filter(({ held }) => !held)).to.deep.equal([]);
    expect(rows.length).to.be.at.least(84);
    // Not because the bit had no effect: root was there.
    const raised = rows.find(({ name }) => name === 'set-user-id programs');
    expect(raised?.by).to.contain('the eight capabilities of a command');
    expect((await cluster().json<NodeJson[]>('node', 'ls')).map(({ name }) => name)).to.deep.equal(['a']);
  });

  it('is left as it was by the attacks that do no harm, and by an interrupted suite', async () => {
    const before = await inspect('a');
    const rows = await cluster().json<Row[]>('node', 'selftest', 'a', '--only', 'names');
    expect(rows.map(({ name, held }) => [name, held])).to.deep.equal([
      ['new namespaces', true],
      ['namespaces of others', true],
      ['clock and names', true],
    ]);
    const { id, pid, status } = await inspect('a');
    expect({ id, pid, status }).to.deep.equal({ id: before.id, pid: before.pid, status: 'Running' });
    const gone = new AbortController();
    const suite = cluster().typed({ signal: gone.signal, killSignal: 'SIGINT' }, 'node', 'selftest');
    const names = async (): Promise<string[]> =>
      (await cluster().json<NodeJson[]>('node', 'ls')).map(({ name }) => name);
    await eventually(names, (seen) => seen.some((name) => name.startsWith('selftest-')));
    gone.abort();
    await suite.catch(() => undefined);
    expect(await eventually(names, (seen) => seen.length === 1)).to.deep.equal(['a']);
    expect(await cluster().run('node', 'selftest', '--only', 'no such attack')).to.include({ code: 3 });
  });

  it('cannot get at what its next start reads, and what it leaves there is not run', async () => {
    const planted = [
      'rm -rf /data/.root/upper/data; ln -s /.nexus/rt /data/.root/upper/data',
      'mv /data/.root /data/other; rmdir /data/.root; touch /data/.root/x',
      'for name in proc dev sys data tmp .nexus; do rm -rf /$name 2>/dev/null; mv /$name /moved; ln -s /.nexus/rt /$name; done',
    ];
    const marks = (await sh('a', `${planted.join('\n')}\nls -A /data/.root /moved`)).stdout;
    expect(marks.trim(), 'below the root, and moved away').to.equal('/data/.root:');
    // Each of these runs, or is loaded, in whatever reads it with the rights of the first stage.
    const program = '#!/bin/sh\\ncat /proc/self/status > /data/ran-$(basename $0)\\n';
    const places = ['/data/bin/busybox', '/sbin/mount.overlay', '/sbin/mount.ext4', '/bin/setpriv', '/usr/bin/busybox'];
    const plant = places.map((path) => `mkdir -p $(dirname ${path}); printf '${program}' > ${path}; chmod +x ${path}`);
    await sh(
      'a',
      `${plant.join('\n')}\necho /data/none.so > /etc/ld.so.preload\nprintf 'passwd: none\\n' > /etc/nsswitch.conf`,
    );
    await cluster().ok('node', 'restart', 'a');
    const after = await inspect('a');
    expect(after.status).to.equal('Running');
    expect(cluster().nodeLog(after.id)).not.to.contain('none.so');
    const own = [0, 1, 3, 4, 5, 6, 7, 10].reduce((bits, bit) => bits | (1n << BigInt(bit)), 0n);
    const { stdout } = await cluster().run(
      'node',
      'exec',
      'a',
      '--',
      '/.nexus/rt/bin/busybox',
      'sh',
      '-c',
      ['ls /data', 'grep CapBnd /proc/self/status', 'ls /dev', 'ls /volume /image /root/.nexus 2>&1'].join('; '),
    );
    expect(stdout).not.to.contain('ran-');
    expect(BigInt(`0x${/CapBnd:\s*(\w+)/.exec(stdout)?.[1] ?? ''}`)).to.equal(own);
    expect(stdout).not.to.match(/loop\d/);
    await sh('a', 'rm -f /etc/ld.so.preload');
  });

  it('has users up to nobody’s number, and no command as another one', async () => {
    expect((await cluster().run('node', 'exec', '-u', '65534', 'a', '--', 'id', '-u')).stdout).to.equal('65534\n');
    const { code, stderr } = await cluster().run('node', 'exec', '-u', '65535', 'a', '--', 'id', '-u');
    expect({ code, stderr }).to.deep.equal({ code: 2, stderr: 'nexus: --user must be a number from 0 to 65534\n' });
  });

  it('is told that a protocol is not there as by a kernel without it, so that programs take another', async () => {
    const tries = ['16, 3, 9', '16, 3, 16', '2, 1, 262'].map((one) => `lambda: socket.socket(${one})`);
    const script = [
      'import errno, socket',
      `for work in (${tries.join(', ')}):`,
      '  try: work(); print("given")',
      '  except OSError as failed: print(errno.errorcode[failed.errno])',
    ];
    const { stdout } = await cluster().run('node', 'exec', 'a', '--', 'python3', '-c', script.join('\n'));
    expect(stdout).to.equal('EPROTONOSUPPORT\n'.repeat(3));
  });

  it('has a command that cannot run diagnosed in bounded time, though the diagnosis finds a pipe in place of users', async () => {
    const script = [
      'import ctypes, os',
      'open("/tmp/script", "w").write("#!/no/such\\n"); os.chmod("/tmp/script", 0o755)',
      'os.mkfifo("/etc/pipe"); os.rename("/etc/passwd", "/etc/users"); open("/etc/passwd", "w").close()',
      'libc = ctypes.CDLL(None); watch = libc.inotify_init()',
      'libc.inotify_add_watch(watch, b"/etc/passwd", 0x10)',
      'if os.fork() == 0:',
      // As soon as what starts the command has read it and closed it.
      '  os.read(watch, 64); os.rename("/etc/pipe", "/etc/passwd"); os._exit(0)',
    ];
    await cluster().ok('node', 'exec', 'a', '--', 'python3', '-c', script.join('\n'));
    const { code, stderr } = await cluster().run('node', 'exec', 'a', '--', '/tmp/script');
    expect(code).to.equal(127);
    expect(stderr).to.equal('nexus: /tmp/script cannot be run in the node: there is no interpreter or loader for it\n');
    const { pid, id } = await inspect('a');
    expect(readdirSync(join(cluster().runDir, id, 'bundle')).filter((name) => name.startsWith('exec-'))).to.deep.equal(
      [],
    );
    const busybox = '/.nexus/rt/bin/busybox';
    const args = ['--target', String(pid), '--user', '--mount', busybox, 'mv', '/etc/users', '/etc/passwd'];
    await runCommand('nsenter', args);
    expect((await sh('a', 'id -un')).stdout).to.equal('root\n');
  });

  it('starts again after it has used up every inode, and serves once some are free', async () => {
    const fill = 'import os\nos.mkdir("/many")\nfor count in range(40000): open(f"/many/{count}", "x").close()';
    expect((await cluster().run('node', 'exec', 'a', '--', 'python3', '-c', fill)).stderr).to.contain('No space left');
    for (let round = 0; round < 2; round += 1) await cluster().ok('node', 'restart', 'a');
    expect((await inspect('a')).status).to.equal('Running');
    // Where they are says what the warning advises.
    const warnings = await eventually(
      async () => (await cluster().json<{ warnings: string[] }>('status')).warnings.join('\n'),
      (seen) => seen.includes('inodes'),
    );
    const advised = /nexus node exec a -- sh -c '(.+)'$/m.exec(warnings)?.[1] ?? 'false';
    expect((await sh('a', advised)).stdout.trim().split('\n').at(-1)).to.match(/^ *\d{4,} \/many$/);
    expect((await sh('a', 'rm -rf /many && : > /one-more')).code).to.equal(0);
    // Its next report says that some are free.
    await eventually(
      async () => (await cluster().json<{ warnings: string[] }>('status')).warnings,
      (seen) => !seen.some((warning) => warning.includes('inodes')),
    );
    writeFileSync(join(cluster().folder, 'small'), 'content');
    await cluster().ok('file', 'upload', join(cluster().folder, 'small'));
  });

  it('has its own names and name servers, whatever its image was built with, and look-ups that fail at once', async () => {
    const tree = join(cluster().folder, 'tree');
    const base = join(cluster().stateDir, 'images', 'base', 'rootfs');
    await runCommand('cp', ['-a', base, tree]);
    writeFileSync(join(tree, 'etc', 'resolv.conf'), 'nameserver 192.0.2.1\nnameserver 192.0.2.2\n');
    writeFileSync(join(tree, 'etc', 'hosts'), '192.0.2.3 build-host\n');
    writeFileSync(join(tree, 'etc', 'hostname'), 'build-host\n');
    const tar = join(cluster().folder, 'tree.tar');
    await runCommand('tar', ['-C', tree, '-cf', tar, '.']);
    await cluster().ok('image', 'import', 'foreign', tar);
    await cluster().ok('node', 'create', 'named', '--storage', '64M', '--image', 'foreign');
    const { ip } = await inspect('named');
    const text = await cluster().ok(
      'node',
      'exec',
      'named',
      '--',
      'cat',
      '/etc/hosts',
      '/etc/hostname',
      '/etc/resolv.conf',
    );
    expect(text).to.contain(`${ip} named\n`).and.not.to.contain('build-host').and.not.to.contain('192.0.2.');
    const lookUp =
      'import socket, time\nt = time.monotonic()\ntry: socket.getaddrinfo("example.org", 80)\nexcept OSError: print(time.monotonic() - t)';
    // One name server that is waited for costs 5 s.
    expect(Number(await cluster().ok('node', 'exec', 'named', '--', 'python3', '-c', lookUp)))
      .to.be.below(4)
      .and.above(0);
    await cluster().ok('node', 'rm', 'named');
  });

  /** A command that says a word and goes on until it is asked to end, run by a command line of its own. */
  const hold = async (node: string, script: string): Promise<{ ended: Promise<CliResult> }> => {
    const mark = `/data/up-${randomBytes(4).toString('hex')}`;
    const ended = sh(node, `: > ${mark}; ${script}`);
    await eventually(
      () => sh(node, `test -e ${mark}`),
      ({ code }) => code === 0,
    );
    return { ended };
  };

  for (const verbs of [
    [['node', 'restart', 'a']],
    [
      ['node', 'stop', 'a'],
      ['node', 'start', 'a'],
    ],
  ]) {
    it(`has all of its commands asked to end, and waited for, by ${verbs[0]?.slice(0, 2).join(' ')}`, async () => {
      const child = '(trap "echo asked > /data/child; exit" TERM; while :; do sleep 0.1; done) &';
      const { ended } = await hold(
        'a',
        `${child} trap "sleep 1; echo asked; exit 3" TERM; while :; do sleep 0.1; done`,
      );
      for (const verb of verbs) await cluster().ok(...verb);
      expect(await ended).to.deep.include({ code: 3, stdout: 'asked\n' });
      expect(await cluster().ok('node', 'exec', 'a', '--', 'cat', '/data/child')).to.equal('asked\n');
    });
  }

  it('keeps its agent when commands leave memory behind: in files, shared memory, segments and pages without a name', async () => {
    const before = await inspect('a');
    const many = 'dd if=/dev/zero of=$0 bs=1M count=64';
    for (const path of ['/tmp/x', '/tmp/y', '/dev/shm/x', '/dev/shm/y', '/dev/x']) {
      const result = await cluster().run('node', 'exec', '-u', '1000', 'a', '--', 'sh', '-c', many, path);
      expect(result.code, path).not.to.equal(0);
    }
    const segments = [
      'import ctypes, os',
      'c = ctypes.CDLL(None)',
      'c.shmat.restype = ctypes.c_void_p',
      'c.shmat.argtypes = [ctypes.c_int, ctypes.c_void_p, ctypes.c_int]',
      'for _ in range(64):',
      '  id = c.shmget(0, 1 << 20, 0o600)',
      '  if id < 0: raise SystemExit(28)',
      '  ctypes.memset(c.shmat(id, None, 0), 1, 1 << 20)',
    ].join('\n');
    expect((await cluster().run('node', 'exec', 'a', '--', 'python3', '-c', segments)).code, 'segments').to.equal(28);
    const nameless = 'import os\nf = os.memfd_create("x")\nfor _ in range(200): os.write(f, bytes(1 << 20))';
    expect((await cluster().run('node', 'exec', 'a', '--', 'python3', '-c', nameless)).code, 'nameless').to.equal(137);
    expect((await sh('a', 'dd if=/dev/urandom of=/data/large bs=1M count=40; rm /data/large')).code).to.equal(0);
    writeFileSync(join(cluster().folder, 'large'), randomBytes(20 * MIB));
    await cluster().ok('file', 'upload', join(cluster().folder, 'large'));
    expect(await inspect('a')).to.include({ status: 'Running', pid: before.pid });
    // Whoever finds the memory taken can still look and remove.
    expect((await sh('a', 'ls -l /tmp; rm /tmp/* /dev/shm/*')).code).to.equal(0);
  });

  it('is resized with a share for its agent, too, and not below what its commands hold', async () => {
    await cluster().ok('node', 'resize', 'a', '--mem', '256');
    const fits = 'b = bytearray(150 << 20)';
    expect((await cluster().run('node', 'exec', 'a', '--', 'python3', '-c', fits)).code).to.equal(0);
    await cluster().ok('node', 'resize', 'a', '--mem', '128');
    expect((await cluster().run('node', 'exec', 'a', '--', 'python3', '-c', fits)).code).to.equal(137);
  });

  it('has its commands ended, with an event for each, when the controller that held them was killed', async () => {
    const { ended } = await hold(
      'a',
      'trap "echo asked > /data/orphan; exit" TERM; while :; do sleep 0.1; done; : orphan',
    );
    await cluster().killController();
    const client = await ended;
    expect(client.code).to.equal(5);
    expect(client.stderr.trim().split('\n'), client.stderr).to.have.length(1);
    await cluster().startController();
    const events = await eventually(
      () => cluster().json<{ type: string; subject: string; message: string }[]>('events'),
      (all) => all.some(({ type }) => type === 'node.command-ended'),
    );
    const [event, ...more] = events.filter(({ type }) => type === 'node.command-ended');
    expect(more).to.deep.equal([]);
    expect(event?.subject).to.equal('a');
    expect(event?.message).to.match(/^a command on node a was ended, .*: sh -c : >/);
    const left = await sh('a', 'cat /data/orphan; df /data >&2; df -i /data >&2; ls -la /data >&2');
    expect(left.stdout, left.stderr).to.equal('asked\n');
    expect((await sh('a', 'ps | grep -c "[:] orphan"')).stdout.trim()).to.equal('0');
  });

  it('cannot open its log as its agent, and the log goes on while the controller is away', async () => {
    // Each file that pid 1 and the agent hold, opened by a process with their user and the right to open any file.
    const script = [
      'import ctypes, errno, os, struct',
      'libc, agent = ctypes.CDLL(None), os.stat("/data/chunks").st_uid',
      'libc.prctl(8, 1, 0, 0, 0)',
      'os.setgroups([]); os.setresgid(agent, agent, agent); os.setresuid(agent, agent, agent)',
      'libc.capset(struct.pack("II", 0x20080522, 0), struct.pack("6I", 2, 2, 0, 0, 0, 0))',
      'for pid in [pid for pid in os.listdir("/proc") if pid.isdigit() and int(pid) != os.getpid()]:',
      '  try: held = os.listdir(f"/proc/{pid}/fd")',
      '  except OSError as failed: held = print(pid, "closed", errno.errorcode[failed.errno]) or []',
      '  for fd in held:',
      '    path = f"/proc/{pid}/fd/{fd}"',
      '    try: os.close(os.open(path, os.O_WRONLY)); said = "opened"',
      '    except OSError as failed: said = errno.errorcode[failed.errno]',
      '    print(pid, fd, said, os.readlink(path))',
    ];
    const { stdout, stderr } = await cluster().run('node', 'exec', 'a', '--', 'python3', '-c', script.join('\n'));
    const lines = stdout.trim().split('\n');
    // The first process and the agent, which can't be looked into at all. Others are the node's own commands.
    expect(
      lines.filter((line) => line.endsWith('closed EACCES')),
      stdout + stderr,
    ).to.have.length(2);
    expect(lines).to.include('1 closed EACCES');
    const opened = lines.filter((line) => line.includes('opened'));
    expect(opened.filter((line) => !/ (\/dev\/null|pipe:\[\d+\])$/.test(line))).to.deep.equal([]);

    const { id } = await inspect('a');
    const record = join(cluster().runDir, id, 'log-writer.json');
    const writer = readFileSync(record, 'utf8');
    await cluster().killController();
    await cluster().startController();
    expect(readFileSync(record, 'utf8')).to.equal(writer);
    await cluster().ok('node', 'restart', 'a');
    expect(readFileSync(record, 'utf8')).not.to.equal(writer);
    const log = await cluster().ok('node', 'logs', 'a');
    const run = log.slice(0, log.lastIndexOf('the node is starting'));
    expect(run.slice(run.lastIndexOf('the node is starting'))).to.contain('the agent ended as requested');
    expect(log).to.match(/the agent is up"}\n$/);
  });
});

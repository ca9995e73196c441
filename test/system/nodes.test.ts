/** Nodes on the real kernel, through the command line. */
import { expect } from 'chai';
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { eventually, type NodeJson } from '../support/cluster.js';
import { describeWithCluster } from '../support/system.js';

/** What fork() answers at a limit. */
const EAGAIN = 11;
/** Number 0, that of a node which does not run, would mean this very process and all of its group. */
function kill(pid: number, signal: NodeJS.Signals): void {
  expect(pid, 'the process to be sent a signal').to.be.greaterThan(1);
  process.kill(pid, signal);
}
const CREATE = ['--mem', '128', '--storage', '256M'];

describeWithCluster('nodes', {}, (cluster) => {
  const list = (): Promise<NodeJson[]> => cluster().json<NodeJson[]>('node', 'ls');
  const inspect = (name: string): Promise<NodeJson> => cluster().json<NodeJson>('node', 'inspect', name);
  const sh = (node: string, script: string): Promise<{ code: number; stdout: string; stderr: string }> =>
    cluster().run('node', 'exec', node, '--', 'sh', '-c', script);

  it('coming and going of nodes leaves the address of the bridge, which all of them use, as it is', async () => {
    const address = (): string => readFileSync(`/sys/class/net/nx-${cluster().instance}/address`, 'utf8');
    const before = address();
    for (const name of ['x', 'y', 'z']) await cluster().ok('node', 'create', name, '--mem', '64', '--storage', '64M');
    expect(address()).to.equal(before);
    await cluster().ok('node', 'rm', 'x', 'y', 'z');
    expect(address()).to.equal(before);
  });

  it('two creates with one name: one wins, the other is told', async () => {
    const results = await Promise.all([1, 2].map(() => cluster().run('node', 'create', 'twin', ...CREATE)));
    expect(results.map((result) => result.code).sort()).to.deep.equal([0, 4]);
    expect(results.find((result) => result.code === 4)?.stderr).to.match(/twin already/);
    await cluster().ok('node', 'rm', 'twin');
  });

  it('takes a name of 63 characters', async () => {
    const name = `n${'a'.repeat(61)}z`;
    await cluster().ok('node', 'create', name, ...CREATE);
    expect((await inspect(name)).status).to.equal('Running');
    expect((await sh(name, 'hostname')).stdout.trim()).to.equal(name);
    await cluster().ok('node', 'rm', name);
  });

  describe('one node', () => {
    before(async () => {
      await cluster().ok(
        'node',
        'create',
        'one',
        '--mem',
        '128',
        '--cpu',
        '512',
        '--storage',
        '256M',
        '--pids',
        '128',
        '--label',
        'zone=a',
      );
    });
    after(async () => {
      await cluster().ok('node', 'rm', 'one');
    });

    it('its agent is not root, has no capability and cannot gain one', async () => {
      const { pid } = await inspect('one');
      const children = readFileSync(`/proc/${pid}/task/${pid}/children`, 'utf8').trim().split(' ').map(Number);
      for (const process of [pid, ...children]) {
        const status = readFileSync(`/proc/${process}/status`, 'utf8');
        const field = (name: string): string => new RegExp(`^${name}:[ \\t]*(.*)$`, 'm').exec(status)?.[1] ?? '';
        expect(
          field('Uid')
            .split('\t')
            .every((uid) => Number(uid) >= 1000),
          field('Uid'),
        ).to.equal(true);
        expect(
          field('Gid')
            .split('\t')
            .every((gid) => Number(gid) >= 1000),
          field('Gid'),
        ).to.equal(true);
        for (const set of ['CapInh', 'CapPrm', 'CapEff', 'CapBnd', 'CapAmb']) expect(field(set), set).to.match(/^0+$/);
        expect(field('NoNewPrivs')).to.equal('1');
        expect(field('Groups').trim()).to.equal('');
      }
      expect(children.length).to.be.greaterThan(0);
    });

    it('its commands have few capabilities, no device below the volume and no namespaces or mounts', async () => {
      const { stdout } = await sh('one', 'grep -E "^(CapEff|CapBnd|NoNewPrivs|Seccomp):" /proc/self/status; ls /dev');
      // CHOWN DAC_OVERRIDE FOWNER FSETID KILL SETGID SETUID NET_BIND_SERVICE, linux/capability.h.
      const mask = [0, 1, 3, 4, 5, 6, 7, 10].reduce((bits, bit) => bits | (1n << BigInt(bit)), 0n);
      const hex = (name: string): bigint => BigInt(`0x${new RegExp(`${name}:\\s*(\\w+)`).exec(stdout)?.[1] ?? ''}`);
      expect(hex('CapEff')).to.equal(mask);
      expect(hex('CapBnd')).to.equal(mask);
      expect(stdout)
        .to.match(/NoNewPrivs:\s*0/)
        .and.match(/Seccomp:\s*2/);
      expect(stdout).not.to.contain('loop');
      expect((await sh('one', 'mount -t tmpfs none /mnt')).code).not.to.equal(0);
      expect((await sh('one', 'unshare -U true')).code).not.to.equal(0);
      expect((await sh('one', 'mknod /data/disk b 7 0')).code).not.to.equal(0);
    });

    it('a user of it becomes its root by a set-user-id program, with what a command of root has and no more', async () => {
      const prepared = [
        'cp /bin/busybox /usr/local/bin/su && chmod 4755 /usr/local/bin/su',
        'cp $(readlink -f /usr/bin/python3) /usr/local/bin/raised && chmod 4755 /usr/local/bin/raised',
        'mkdir /data/own && cp -p /usr/local/bin/su /data/own && chmod 4755 /data/own/su',
        // An account without a password is let in.
        'sed -i "s/^root:[^:]*:/root::/" /etc/passwd; echo "user:x:1000:1000::/tmp:/bin/sh" >> /etc/passwd',
      ];
      await cluster().ok('node', 'exec', 'one', '--', 'sh', '-ec', prepared.join('\n'));
      const asUser = (...command: string[]): ReturnType<typeof sh> =>
        cluster().run('node', 'exec', '-u', '1000', 'one', '--', ...command);
      const fields = '^(Uid|Gid|CapInh|CapPrm|CapEff|CapBnd|CapAmb|Seccomp):';
      const look = `grep -E "${fields}" /proc/self/status`;
      const root = await asUser('su', '-c', look);
      expect(root.stdout, root.stderr).to.match(/^Uid:\t0\t0\t0\t0\nGid:\t0\t0\t0\t0\n/);
      expect(root.stdout).to.equal((await sh('one', look)).stdout);
      expect(
        (await asUser('su', '-c', 'unshare -U true || unshare -m true || mount -t tmpfs none /mnt')).code,
      ).not.to.equal(0);
      expect((await asUser('su', '-c', 'su user -c "id -u"')).stdout).to.equal('1000\n');
      // Agents are closed for whoever becomes root in this way, as for root.
      const ofAgents = 'cat /proc/1/environ /proc/$(cut -d" " -f1 /proc/1/task/1/children)/environ 2>&1';
      expect((await asUser('su', '-c', ofAgents)).stdout).to.match(
        /^(cat: can't open '\/proc\/\d+\/environ': Permission denied\n){2}$/,
      );
      // A program that raises its rights by itself, without a shell that drops them.
      const script =
        'import os; print(os.getuid(), os.geteuid(), *[line.split()[1] for line in open("/proc/self/status") if line[:6] in ("CapPrm", "CapEff", "CapBnd")])';
      const caps = Array<string>(3).fill('00000000000004fb').join(' ');
      expect((await asUser('raised', '-c', script)).stdout).to.equal(`1000 0 ${caps}\n`);
      const onVolume = await asUser('/data/own/su', '-c', 'id -u');
      expect(onVolume.code, onVolume.stdout).not.to.equal(0);
      expect(onVolume.stderr).to.contain('must be suid');
    });

    it('its users may send echo requests to other nodes, and no packets of another kind by hand', async () => {
      const { ip } = await inspect('one');
      const script = [
        'import socket, sys',
        'ping = socket.socket(socket.AF_INET, socket.SOCK_DGRAM, socket.IPPROTO_ICMP)',
        'ping.settimeout(60)',
        'ping.sendto(bytes((8, 0, 0, 0, 0, 0, 0, 1)), (sys.argv[1], 0))',
        'print(ping.recv(64)[0])',
        'try: socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_ICMP)',
        'except PermissionError: print("refused")',
      ].join('\n');
      for (const user of ['0', '1000']) {
        const said = await cluster().run('node', 'exec', '-u', user, 'one', '--', 'python3', '-c', script, ip);
        expect(said).to.deep.equal({ code: 0, stdout: '0\nrefused\n', stderr: '' });
      }
    });

    it('sees only its own processes, address and host name', async () => {
      const { stdout } = await sh('one', 'hostname; ls -d /proc/[0-9]* | wc -l; ip -4 addr show eth0');
      const [hostname, count, ...address] = stdout.split('\n');
      expect(hostname).to.equal('one');
      expect(Number(count)).to.be.lessThan(10);
      expect(address.join('\n')).to.contain((await inspect('one')).ip);
    });

    it('exec passes input, both outputs and the exit code', async () => {
      const result = await cluster().runWith(
        { input: 'hello' },
        'node',
        'exec',
        '-i',
        'one',
        '--',
        'sh',
        '-c',
        'cat; echo no >&2; exit 7',
      );
      expect(result).to.deep.equal({ code: 7, stdout: 'hello', stderr: 'no\n' });
      const absent = await cluster().run('node', 'exec', 'one', '--', 'no-such-program');
      expect(absent.code).to.equal(127);
      expect(absent.stderr).to.equal('nexus: there is no program no-such-program in the node\n');
      expect((await cluster().run('node', 'exec', 'one', '--', '/etc/passwd')).code).to.equal(126);
      expect((await sh('one', 'kill -9 $$')).code).to.equal(137);
    });

    it('a command that wants more than --mem is killed, and the agent lives', async () => {
      const before = await inspect('one');
      const result = await cluster().run(
        'node',
        'exec',
        'one',
        '--',
        'python3',
        '-c',
        'b = bytearray(400 * 1024 * 1024); print(len(b))',
      );
      expect(result.code).to.equal(137);
      const after = await inspect('one');
      expect(after).to.include({ status: 'Running', pid: before.pid });
    });

    it('a fork bomb ends at the pids limit', async () => {
      const script = [
        'import os, signal, time',
        'children = []',
        'try:',
        '  while len(children) < 5000:',
        '    child = os.fork()',
        '    if child == 0:',
        '      time.sleep(30)',
        '      os._exit(0)',
        '    children.append(child)',
        'except OSError as error:',
        '  print(len(children), error.errno)',
        'for child in children:',
        '  os.kill(child, signal.SIGKILL)',
        '  os.waitpid(child, 0)',
      ].join('\n');
      const result = await cluster().run('node', 'exec', 'one', '--', 'python3', '-c', script);
      const [forks, errno] = result.stdout.trim().split(' ').map(Number);
      expect(errno, result.stderr).to.equal(EAGAIN);
      expect(forks).to.be.greaterThan(50).and.lessThan(128);
    });

    it('the volume and the root file system are bounded by --storage', async () => {
      const { stdout } = await sh('one', 'dd if=/dev/zero of=/big bs=1M count=600 2>&1; rm -f /big; df -m / | tail -1');
      expect(stdout).to.match(/No space left/);
      const total = Number(stdout.trim().split('\n').at(-1)?.split(/\s+/)[1]);
      expect(total).to.be.greaterThan(150).and.lessThan(257);
    });

    it('resize changes the limits of the running node', async () => {
      await cluster().ok('node', 'resize', 'one', '--mem', '192');
      const script = 'cat /sys/fs/cgroup/memory.max /sys/fs/cgroup/memory/memory.limit_in_bytes 2>/dev/null';
      expect((await sh('one', script)).stdout.trim()).to.equal(String(192 * 1024 * 1024));
      await cluster().ok('node', 'resize', 'one', '--mem', '128');
    });

    it('keeps its data over stop and start, and detaches its volume in between', async () => {
      expect((await sh('one', 'echo kept > /root/note && sync')).code).to.equal(0);
      await cluster().ok('node', 'stop', 'one');
      const stopped = await inspect('one');
      expect(stopped.status).to.equal('Stopped');
      expect((await cluster().run('node', 'exec', 'one', '--', 'true')).code).to.equal(4);
      await cluster().ok('node', 'start', 'one');
      expect((await sh('one', 'cat /root/note')).stdout).to.equal('kept\n');
      await cluster().ok('node', 'restart', 'one');
      expect((await sh('one', 'cat /root/note')).stdout).to.equal('kept\n');
    });

    it('a killed agent is known by its connection, before anybody misses it, and the node starts again with its data', async () => {
      await sh('one', 'echo safe > /root/note && sync');
      const { pid } = await inspect('one');
      const [agent = 0] = readFileSync(`/proc/${pid}/task/${pid}/children`, 'utf8').trim().split(' ').map(Number);
      kill(agent, 'SIGKILL');
      const failed = await eventually(
        () => inspect('one'),
        (node) => node.status === 'Failed',
      );
      expect(failed.status_reason).to.equal('its container ended: its agent was ended by a signal: Killed');
      const events = await cluster().json<{ type: string; subject: string }[]>('events');
      const types = events.filter(({ subject }) => subject === 'one').map(({ type }) => type);
      // Its silence would have made it Suspect first.
      expect(types.slice(types.lastIndexOf('node.started') + 1)).to.deep.equal(['node.failed']);
      await cluster().ok('node', 'start', 'one');
      expect((await sh('one', 'cat /root/note')).stdout).to.equal('safe\n');
    });

    it('a node whose container was killed says so, instead of an unrelated line of its log', async () => {
      kill((await inspect('one')).pid, 'SIGKILL');
      const failed = await eventually(
        () => inspect('one'),
        (node) => node.status === 'Failed',
      );
      expect(failed.status_reason).to.equal('its container ended: it was killed before its agent could log a reason');
      await cluster().ok('node', 'start', 'one');
    });

    it('its creation and what changed of its limits are among the events', async () => {
      await cluster().ok('node', 'resize', 'one', '--pids', '130');
      await cluster().ok('node', 'resize', 'one', '--pids', '130');
      await cluster().ok('node', 'resize', 'one', '--pids', '128');
      const events = await cluster().json<{ type: string; subject: string; message: string }[]>('events');
      const ofOne = events.filter((event) => event.subject === 'one');
      expect(ofOne.slice(0, 2).map((event) => event.type)).to.deep.equal(['node.creating', 'node.running']);
      const resized = ofOne.filter((event) => event.type === 'node.resized').map((event) => event.message);
      expect(resized.slice(-2)).to.deep.equal([
        'node one was resized: pids 128 -> 130',
        'node one was resized: pids 130 -> 128',
      ]);
    });

    it('an agent that falls silent becomes Suspect, and Running again when it is heard', async () => {
      const { pid } = await inspect('one');
      const [agent = 0] = readFileSync(`/proc/${pid}/task/${pid}/children`, 'utf8').trim().split(' ').map(Number);
      kill(agent, 'SIGSTOP');
      await eventually(
        () => inspect('one'),
        (node) => node.status === 'Suspect',
      );
      kill(agent, 'SIGCONT');
      await eventually(
        () => inspect('one'),
        (node) => node.status === 'Running',
      );
    });

    it('outlives nats-server: the agent reconnects by itself', async () => {
      const { nats } = await cluster().json<{ nats: { pid: number } }>('status');
      const before = await inspect('one');
      process.kill(nats.pid, 'SIGKILL');
      const restarted = await eventually(
        () => cluster().json<{ nats: { pid: number } }>('status'),
        (status) => status.nats.pid !== nats.pid && status.nats.pid > 0,
      );
      expect(restarted.nats.pid).to.not.equal(nats.pid);
      await eventually(
        () => cluster().run('node', 'stop', 'one'),
        (result) => result.code === 0,
      );
      await cluster().ok('node', 'start', 'one');
      expect(before.status).to.equal('Running');
    });

    it('logs tell the agent’s story', async () => {
      expect(await cluster().ok('node', 'logs', 'one')).to.contain('agent');
    });
  });

  it('refuses wrong input with one line, the right exit code, and leaves nothing', async () => {
    const refusals: [number, RegExp, string[]][] = [
      [2, /name/, ['node', 'create', 'Bad_Name', ...CREATE]],
      [2, /name/, ['node', 'create', 'x'.repeat(64), ...CREATE]],
      [2, /mem/, ['node', 'create', 'wrong', '--mem', '0', '--storage', '1G']],
      [4, /memory.*machine/, ['node', 'create', 'wrong', '--mem', '1T', '--storage', '1G']],
      [2, /storage/, ['node', 'create', 'wrong', '--storage', '1Q']],
      [2, /NAME/, ['node', 'create']],
      [4, /does not fit/, ['node', 'create', 'wrong', '--storage', '15T']],
      [2, /cpu/, ['node', 'create', 'wrong', '--cpu', '10001', '--storage', '1G']],
      [2, /--no-such-flag/, ['node', 'create', 'wrong', '--no-such-flag', '--storage', '1G']],
      [3, /no image/, ['node', 'create', 'wrong', '--image', 'absent', '--storage', '1G']],
      [3, /no node/, ['node', 'inspect', 'absent']],
      [3, /no node/, ['node', 'rm', 'absent']],
    ];
    for (const [code, message, args] of refusals) {
      const result = await cluster().run(...args);
      expect(result.code, `${args.join(' ')}: ${result.stderr}`).to.equal(code);
      expect(result.stderr.trim().split('\n')).to.have.length(1);
      expect(result.stderr).to.match(message);
    }
    expect(await list()).to.deep.equal([]);
    const volumes = `${cluster().stateDir}/volumes`;
    expect(existsSync(volumes) ? readdirSync(volumes) : []).to.deep.equal([]);
  });

  it('refuses a second controller and leaves the first alone', async () => {
    const { controller } = await cluster().json<{ controller: { pid: number } }>('status');
    const second = await cluster().tryController();
    expect(second.code).to.equal(1);
    expect(second.output).to.match(/already running/);
    expect((await cluster().json<{ controller: { pid: number } }>('status')).controller.pid).to.equal(controller.pid);
  });
});

/** What `nexus doctor` says, on answers recorded on hosts that lack one thing each. */
import { expect } from 'chai';
import { mountedCgroups } from '../../shared/cgroup/layout.js';
import { examineHost } from '../../shared/host/probe.js';
import { isOlder, versionIn } from '../../shared/host/programs.js';
import type { HostReport } from '../../shared/host/report.js';
import { NO_ANSWER, systemSources } from '../../shared/host/sources.js';
import { loadSettings } from '../../shared/config/settings.js';
import { HYBRID_MOUNTS, recordedInput, V2_MOUNTS, type Recorded } from '../support/recorded-host.js';

async function examine(recorded: Recorded = {}): Promise<HostReport> {
  const { settings, sources, projectRoot } = recordedInput(recorded);
  return await examineHost(settings, projectRoot, sources);
}

const failures = (report: HostReport): string[] => report.checks.filter(({ ok }) => !ok).map(({ name }) => name);

/** The single check that fails. */
async function onlyFailure(recorded: Recorded): Promise<{ name: string; found: string; advice: string }> {
  const report = await examine(recorded);
  const failed = report.checks.filter(({ ok }) => !ok);
  expect(failed.map(({ name }) => name)).to.have.length(1);
  expect(report.ok).to.equal(false);
  return failed[0]!;
}

describe('host probe', () => {
  it('is content with a host that has everything', async () => {
    const report = await examine();
    expect(failures(report)).to.deep.equal([]);
    expect(report.ok).to.equal(true);
    expect(report.checks.find(({ name }) => name === 'cgroups')?.found).to.equal('v2 (unified)');
  });

  it('names the package of each missing program', async () => {
    const check = await onlyFailure({ programs: { mmdebstrap: undefined } });
    expect(check).to.include({ name: 'mmdebstrap', found: 'missing', advice: 'apt-get install mmdebstrap' });
  });

  it('does not call a program missing that is slow to answer', async () => {
    const check = await onlyFailure({ programs: { runc: { exitCode: NO_ANSWER, output: '' } } });
    expect(check).to.include({ name: 'runc', found: 'installed, but does not respond' });
  });

  it('refuses programs and a Node that are too old', async () => {
    const runc = await onlyFailure({ programs: { runc: { exitCode: 0, output: 'runc version 1.0.3' } } });
    expect(runc.advice).to.equal('version 1.1 or newer is needed');
    expect((await onlyFailure({ nodeVersion: '20.9.0' })).name).to.equal('node');
  });

  it('says which cgroup controllers are missing', async () => {
    const check = await onlyFailure({ files: { '/sys/fs/cgroup/cgroup.controllers': 'cpu pids\n' } });
    expect(check.found).to.equal('v2 (unified), without memory');
  });

  it('accepts the hybrid layout, and tells when no cgroups are mounted', async () => {
    expect(failures(await examine({ files: { '/proc/mounts': HYBRID_MOUNTS } }))).to.deep.equal([]);
    expect((await onlyFailure({ files: { '/proc/mounts': 'proc /proc proc rw 0 0\n' } })).advice).to.contain(
      'mount -t',
    );
  });

  it('refuses the hybrid layout to a runtime that needs pure v2, and says what to do', async () => {
    const settings = { runtime: 'crun' } as const;
    const programs = { crun: { exitCode: 0, output: 'crun version 1.8.1' } };
    expect(failures(await examine({ settings, programs }))).to.deep.equal([]);
    const check = await onlyFailure({ settings, programs, files: { '/proc/mounts': HYBRID_MOUNTS } });
    expect(check).to.deep.include({ name: 'cgroups', found: 'hybrid (controllers on v1), where crun does not work' });
    expect(check.advice).to.contain('--runtime runc');
  });

  it('takes a file system that is a module, and not one that is neither', async () => {
    const files = { '/proc/filesystems': '\text4\n' };
    expect(failures(await examine({ files, programs: { modprobe: { exitCode: 0, output: '' } } }))).to.deep.equal([]);
    expect((await onlyFailure({ files, programs: { modprobe: { exitCode: 1, output: '' } } })).name).to.equal(
      'overlay',
    );
  });

  it('finds a foreign loop device in the range of the nodes, and leaves its own alone', async () => {
    const host = {
      folders: { '/sys/block': ['loop0', 'loop105', 'sda'], '/var/lib/nexus/volumes': ['abc.img'] },
      inodes: { '/var/lib/nexus/volumes/abc.img': 42 },
      files: { '/sys/block/loop105/loop/backing_file': '/snap/core.snap\n' },
    };
    const inode = (text: string): Recorded => ({
      ...host,
      programs: { 'losetup --noheadings --output BACK-INO /dev/loop105': { exitCode: 0, output: text } },
    });
    expect((await onlyFailure(inode('7'))).found).to.equal('/dev/loop105 is in use by /snap/core.snap');
    expect(failures(await examine(inode('42')))).to.deep.equal([]);
    // Without root the file's identity is not told, and nothing is claimed.
    expect(failures(await examine(inode('')))).to.deep.equal([]);
  });

  it('finds a network that overlaps the subnet, whichever of the two is larger', async () => {
    const header = 'Iface\tDestination\tGateway\tFlags\tRefCnt\tUse\tMetric\tMask\n';
    const route = (device: string, destination: string, mask: string): Recorded => ({
      files: { '/proc/net/route': `${header}${device}\t${destination}\t0\t1\t0\t0\t0\t${mask}\t0\t0\t0\n` },
    });
    expect((await onlyFailure(route('tun0', '0000000A', '000000FF'))).found).to.contain('behind tun0');
    expect((await onlyFailure(route('tun0', '802A000A', '80FFFFFF'))).name).to.equal('subnet');
    expect(failures(await examine(route('nexus0', '002A000A', '00FFFFFF')))).to.deep.equal([]);
    expect(failures(await examine(route('tun0', '002B000A', '00FFFFFF')))).to.deep.equal([]);
  });

  it('finds another server on the NATS port, but not its own', async () => {
    const listening = '   0: 00000000:107E 00000000:0000 0A 00000000:00000000\n';
    const check = await onlyFailure({ files: { '/proc/net/tcp': listening } });
    expect(check.found).to.equal('4222 is taken on every address');
    const elsewhere = '   0: 0100007F:107E 00000000:0000 0A 00000000:00000000\n';
    expect(failures(await examine({ files: { '/proc/net/tcp': elsewhere } }))).to.deep.equal([]);
    const ours = `0000: 00000002 00000000 00010000 0001 01 1677 /run/nexus.sock\n`;
    const running = { '/proc/net/tcp': listening, '/proc/net/unix': ours };
    expect(failures(await examine({ files: running }))).to.deep.equal([]);
  });

  it('knows what the kernel refuses from a trial, and only advises about netem', async () => {
    const refused = { exitCode: 2, output: 'RTNETLINK answers: Operation not supported' };
    const bridge = await onlyFailure({ programs: { 'unshare --net ip link add nx-probe type bridge': refused } });
    expect(bridge.advice).to.contain('CONFIG_BRIDGE');
    const netem = 'unshare --net tc qdisc add dev lo root netem delay 1ms';
    const report = await examine({ programs: { [netem]: refused } });
    expect(report.ok).to.equal(true);
    expect(report.checks.find(({ name }) => name === 'netem')?.advice).to.not.equal('');
  });

  it('tries whether owners can be mapped where the volumes will lie', async () => {
    const trial = (folder: string): string => `/project/dist/node-stage try-owners ${folder}`;
    const said = 'first-stage: said: Invalid argument\nfirst-stage: the owners of /srv cannot be mapped';
    const programs = { [trial('/srv')]: { exitCode: 75, output: said } };
    const settings = { stateDir: '/srv/nexus/a' };
    const refused = await onlyFailure({ programs, settings, files: { '/srv': '' } });
    expect(refused).to.include({
      name: 'id-mapped mounts',
      found: 'the owners of /srv cannot be mapped: Invalid argument',
    });
    expect(refused.advice).to.match(/^set state-dir .*ext4.*CAP_SYS_ADMIN.*--runtime process/);
    expect(failures(await examine({ programs }))).to.deep.equal([]);
    const broken = await onlyFailure({ programs: { [trial('/')]: { exitCode: 76, output: '' } } });
    expect(broken.found).to.equal('the trial cannot be run');
    expect(broken.advice).not.to.contain('state-dir');
  });

  it('does not claim to know what it could not try', async () => {
    const report = await examine({
      uid: 1000,
      programs: { unshare: { exitCode: 1, output: '' }, sudo: { exitCode: 0, output: '' } },
    });
    expect(report.checks.find(({ name }) => name === 'veth')).to.deep.include({
      ok: true,
      found: 'not known without root',
    });
    const untried = async (recorded: Recorded): Promise<unknown> =>
      (await examine(recorded)).checks.find(({ name }) => name === 'id-mapped mounts');
    expect(await untried({ uid: 1000 })).to.include({ ok: true, found: 'not known without root' });
    expect(await untried({ files: { '/project/dist/node-stage': undefined } })).to.include({
      ok: true,
      found: 'not known before the set-up',
    });
  });

  it('warns of a state folder in memory, and is content with it', async () => {
    const report = await examine({ isInMemory: true });
    expect(report.ok).to.equal(true);
    const disk = report.checks.find(({ name }) => name === 'disk');
    expect(disk?.found).to.contain('in memory (tmpfs)');
    expect(disk?.advice).to.contain('without an error');
  });

  it('asks for root or sudo, for room and for the set-up', async () => {
    expect((await onlyFailure({ uid: 1000 })).advice).to.contain('--runtime process');
    expect((await onlyFailure({ freeBytes: 1024 })).advice).to.contain('NEXUS_STATE_DIR');
    expect((await onlyFailure({ files: { '/proc/meminfo': 'MemAvailable: 1000 kB\n' } })).name).to.equal('memory');
    expect((await onlyFailure({ files: { '/project/dist/runtime/agent.cjs': undefined } })).name).to.equal(
      'agent runtime',
    );
    expect((await onlyFailure({ folders: { '/project/.cache': [] } })).name).to.equal('base image');
  });

  it('asks the process runtime for nothing of the kernel', async () => {
    const report = await examine({
      uid: 1000,
      settings: { runtime: 'process' },
      files: { '/proc/mounts': '', '/dev/loop-control': undefined },
      programs: { runc: undefined },
    });
    expect(failures(report)).to.deep.equal([]);
  });

  it('examines this host: every failure has its advice', async () => {
    const report = await examineHost(loadSettings(), process.cwd(), systemSources());
    expect(report.checks.length).to.be.greaterThan(5);
    for (const check of report.checks) expect(check.ok || check.advice !== '', check.name).to.equal(true);
  });
});

describe('reading a host', () => {
  it('tells cgroup layouts apart', () => {
    expect(mountedCgroups(V2_MOUNTS, 'cpu memory').layout).to.equal('v2');
    expect(mountedCgroups(HYBRID_MOUNTS, undefined).layout).to.equal('hybrid');
    expect(mountedCgroups(HYBRID_MOUNTS.replace(/^cgroup2.*$/m, ''), undefined).layout).to.equal('v1');
    expect([...mountedCgroups(HYBRID_MOUNTS, undefined).controllers]).to.include.members(['cpu', 'cpuacct', 'pids']);
  });

  it('compares versions by numbers', () => {
    expect(versionIn('nats-server: v2.9.10')).to.equal('2.9.10');
    expect(isOlder('2.9.10', '2.10')).to.equal(true);
    expect(isOlder('20.19.0', '20.19')).to.equal(false);
    expect(isOlder('21', '20.19')).to.equal(false);
  });
});

/** The installed copy, as systemd runs it: started, locked down, started again, and taken away. */
import { execFile } from 'node:child_process';
import { existsSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { promisify } from 'node:util';
import { expect } from 'chai';
import { residueOf } from '../../support/residue.js';
import { compareWithSource } from './file-checks.js';
import { eventually, type Guest, type NodeJson } from './guest.js';

const execute = promisify(execFile);
const GATEWAY = 'http://127.0.0.1:8080';
/** Emulated, loading its code alone takes half a minute. */
const START_MS = 300_000;

/** An emulated processor is many times slower; a slow agent is not a dead one. */
const PATIENCE = `
start-timeout-ms: 900000
nats-connect-timeout-ms: 120000
suspect-after-ms: 30000
lost-after-ms: 120000
node-start-timeout-ms: 180000
node-stop-grace-ms: 60000
lambda-start-timeout-ms: 180000
lambda-timeout-ms: 180000
lambda-queue-timeout-ms: 180000
`;

async function property(unit: string, name: string): Promise<string> {
  return (await execute('systemctl', ['show', '--value', '--property', name, unit])).stdout.trim();
}

const processOf = (unit: string): Promise<number> => property(unit, 'MainPID').then(Number);

const answerOf = (path: string): Promise<string> =>
  fetch(`${GATEWAY}${path}`).then(
    async (response) => `${response.status} ${await response.text()}`,
    (error: unknown) => String(error),
  );

export async function startUnits(guest: Guest): Promise<void> {
  writeFileSync('/etc/nexus/nexus.yaml', PATIENCE);
  await execute('systemctl', ['enable', '--now', 'nexus-controller', 'nexus-gateway']);
  const status = await eventually(
    () => guest.run('status', '--output', 'json'),
    ({ code }) => code === 0,
    START_MS,
  );
  const pid = await processOf('nexus-controller');
  expect(JSON.parse(status.stdout))
    .to.include({ instance: guest.instance })
    .and.nested.include({ 'controller.pid': pid });
}

export async function gatewayAnswers(guest: Guest): Promise<void> {
  await eventually(
    () => answerOf('/readyz'),
    (answer) => answer.startsWith('200'),
    START_MS,
  );
  guest.kept.set('gateway', String(await processOf('nexus-gateway')));
}

/** What the units forbid is what the kernel says of the processes. */
export async function lockDown(): Promise<void> {
  const gateway = statusOf(await processOf('nexus-gateway'));
  const { uid: serviceUser } = statusOfUser('nexus');
  expect(gateway.get('Uid')?.split('\t')).to.deep.equal(Array<string>(4).fill(serviceUser));
  expect(Object.fromEntries(gateway)).to.include({ NoNewPrivs: '1', Seccomp: '2' });
  for (const set of ['CapEff', 'CapPrm', 'CapBnd', 'CapAmb']) expect(BigInt(`0x${gateway.get(set)}`), set).to.equal(0n);
  const controller = statusOf(await processOf('nexus-controller'));
  // Its filters are there, but not what would keep sudo and su of nodes from working; the bus has that of its own.
  expect(Object.fromEntries(controller)).to.include({ NoNewPrivs: '0', Seccomp: '2' });
  const bus = Number(readFileSync('/run/nexus/nats.d/nats.pid', 'utf8'));
  expect(Object.fromEntries(statusOf(bus))).to.include({ NoNewPrivs: '1', Seccomp: '2' });
  const bounding = BigInt(`0x${controller.get('CapBnd')}`);
  const has = (capability: number): boolean => ((bounding >> BigInt(capability)) & 1n) === 1n;
  expect({ module: has(16), admin: has(21), boot: has(22), time: has(25) }).to.deep.equal({
    module: false,
    admin: true,
    boot: false,
    time: false,
  });
}

function statusOf(pid: number): Map<string, string> {
  const lines = readFileSync(`/proc/${pid}/status`, 'utf8').trimEnd().split('\n');
  return new Map(lines.map((line) => [line.slice(0, line.indexOf(':')), line.slice(line.indexOf(':') + 1).trim()]));
}

function statusOfUser(name: string): { uid: string } {
  const line = readFileSync('/etc/passwd', 'utf8')
    .split('\n')
    .find((one) => one.startsWith(`${name}:`));
  return { uid: line?.split(':')[2] ?? '' };
}

/** systemd starts it again, and all is as it was. */
export async function outliveKill(guest: Guest): Promise<void> {
  await outlive(guest, (pid) => {
    process.kill(pid, 'SIGKILL');
  });
  expect(await property('nexus-controller', 'NRestarts')).to.equal('1');
}

export async function outliveRestart(guest: Guest): Promise<void> {
  await outlive(guest, async () => {
    await execute('systemctl', ['restart', 'nexus-controller']);
  });
}

async function outlive(guest: Guest, end: (pid: number) => Promise<void> | void): Promise<void> {
  const before = await guest.json<NodeJson[]>('node', 'ls');
  const pid = await processOf('nexus-controller');
  await end(pid);
  await eventually(
    () => guest.run('status', '--output', 'json'),
    ({ code, stdout }) => code === 0 && (JSON.parse(stdout) as { controller: { pid: number } }).controller.pid !== pid,
    START_MS,
  );
  const after = await eventually(
    () => guest.json<NodeJson[]>('node', 'ls'),
    (nodes) => nodes.every(({ status, agent_started_at: at }) => status === 'Running' && at !== ''),
    120_000,
  );
  const identity = ({ id, pid: agent, agent_started_at: at }: NodeJson): object => ({ id, agent, at });
  expect(after.map(identity)).to.deep.equal(before.map(identity));
  await compareWithSource(guest);
}

/** The same process since its start, whatever happened to the controller, and it tells of the cluster. */
export async function gatewayStays(guest: Guest): Promise<void> {
  expect(String(await processOf('nexus-gateway'))).to.equal(guest.kept.get('gateway'));
  expect(await property('nexus-gateway', 'NRestarts')).to.equal('0');
  // A scrape does not wait long for a controller that has just begun, and says so.
  const metrics = await eventually(
    () => answerOf('/metrics'),
    (text) => /^nexus_up 1$/m.test(text),
    START_MS,
  );
  expect(metrics).to.match(/^nexus_nodes\{state="Running"\} [1-9]/m);
}

export async function leaveNothing(guest: Guest): Promise<void> {
  await guest.ok('down', '--purge');
  // The controller ended as it was told to, which is no reason to start it again.
  await eventually(
    () => property('nexus-controller', 'ActiveState'),
    (state) => state === 'inactive',
    60_000,
  );
  expect(await answerOf('/readyz')).to.match(/^503 /);
  await execute('systemctl', ['stop', 'nexus-gateway']);
  expect(await property('nexus-gateway', 'Result')).to.equal('success');
  expect(residueOf(guest.instance)).to.deep.equal([]);
}

/** By the launcher, as whoever does not care for units would. */
export async function upByHand(guest: Guest): Promise<void> {
  const nexus = async (...args: string[]): Promise<string> => (await execute('/usr/local/bin/nexus', args)).stdout;
  await nexus('up');
  await nexus('node', 'create', 'one', '--storage', '64M');
  expect(await nexus('node', 'exec', 'one', '--', 'hostname')).to.equal('one\n');
  await nexus('down', '--purge');
  expect(residueOf(guest.instance)).to.deep.equal([]);
}

export async function uninstall(): Promise<void> {
  await execute('/opt/nexus/deploy/install.sh', ['--uninstall']);
  for (const path of ['/opt/nexus', '/usr/local/bin/nexus']) expect(existsSync(path), path).to.equal(false);
  // Settings are whoever's who wrote them.
  expect(readdirSync('/etc/nexus')).to.deep.equal(['nexus.yaml']);
  const units = readdirSync('/etc/systemd/system', { recursive: true, encoding: 'utf8' });
  expect(units.filter((name) => /nexus-(controller|gateway)/.test(name))).to.deep.equal([]);
  expect(await property('nexus-controller', 'LoadState')).to.equal('not-found');
}

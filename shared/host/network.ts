/** The network: what nodes' links are made of, and whether the subnet and the NATS port are free for them. */
import { failed, passed, type HostCheck, type ProbeInput } from './report.js';

export async function probeNetwork(input: ProbeInput): Promise<HostCheck[]> {
  return await Promise.all([
    trial(input, 'bridge', ['ip', 'link', 'add', 'nx-probe', 'type', 'bridge'], 'CONFIG_BRIDGE'),
    trial(input, 'veth', ['ip', 'link', 'add', 'nx-probe', 'type', 'veth', 'peer', 'name', 'nx-probe2'], 'CONFIG_VETH'),
    trial(input, 'nf_tables', ['nft', 'add', 'table', 'ip', 'nx-probe'], 'CONFIG_NF_TABLES'),
    netem(input),
    subnetFree(input),
    natsPortFree(input),
  ]);
}

/** Made in a network namespace that ends with the command. Without root: in a user namespace, where those are allowed. */
async function tryInNamespace({ sources }: ProbeInput, command: readonly string[]): Promise<boolean | undefined> {
  const asUser = sources.uid === 0 ? [] : ['--user', '--map-root-user'];
  const namespace = await sources.run('unshare', [...asUser, '--net', 'true']);
  if (namespace?.exitCode !== 0) return undefined;
  const answer = await sources.run('unshare', [...asUser, '--net', ...command]);
  return answer?.exitCode === 0;
}

const AS_ROOT = 'to check it, run as root: sudo nexus doctor';

async function trial(input: ProbeInput, name: string, command: readonly string[], option: string): Promise<HostCheck> {
  const works = await tryInNamespace(input, command);
  if (works === undefined) return passed(name, 'not known without root', AS_ROOT);
  if (works) return passed(name, 'works');
  return failed(name, 'refused', `a kernel with ${option} is needed, and the program ${command[0] ?? ''}`);
}

/** Only for emulating slow links; nodes do without. */
async function netem(input: ProbeInput): Promise<HostCheck> {
  const works = await tryInNamespace(input, ['tc', 'qdisc', 'add', 'dev', 'lo', 'root', 'netem', 'delay', '1ms']);
  if (works === undefined) return passed('netem', 'not known without root', AS_ROOT);
  return passed(
    'netem',
    works ? 'works' : 'not in this kernel',
    works ? '' : 'only delays on links cannot be emulated',
  );
}

interface Route {
  readonly device: string;
  readonly network: number;
  readonly mask: number;
}

/** Rows of /proc/net/route: device, destination and, in the eighth column, mask; both in hexadecimal, bytes reversed. */
export function parseRoutes(table: string): Route[] {
  const rows = table.split('\n').slice(1);
  return rows.flatMap((row) => {
    const [device = '', destination, , , , , , mask] = row.split('\t').map((cell) => cell.trim());
    if (destination === undefined || mask === undefined) return [];
    return [{ device, network: fromReversedHex(destination), mask: fromReversedHex(mask) }];
  });
}

const fromReversedHex = (hex: string): number => Buffer.from(hex.padStart(8, '0'), 'hex').readUInt32LE();

const addressNumber = (address: string): number => Buffer.from(address.split('.').map(Number)).readUInt32BE();

/** Whether two networks share an address: seen through the shorter mask they are one. */
function overlap(route: Route, network: number, mask: number): boolean {
  const shorter = route.mask & mask;
  return (route.network & shorter) === (network & shorter);
}

async function subnetFree({ settings, sources }: ProbeInput): Promise<HostCheck> {
  const name = 'subnet';
  const [address = '', length = '24'] = settings.subnet.split('/');
  const mask = (0xffffffff << (32 - Number(length))) >>> 0;
  const routes = parseRoutes((await sources.readText('/proc/net/route')) ?? '');
  const conflict = routes.find(
    (route) => route.mask !== 0 && route.device !== settings.bridge && overlap(route, addressNumber(address), mask),
  );
  if (conflict === undefined) return passed(name, `${settings.subnet} is free`);
  const found = `${settings.subnet} overlaps a network behind ${conflict.device}`;
  return failed(name, found, 'choose another: set subnet (NEXUS_SUBNET), for example 10.99.42.0/24');
}

export interface Listener {
  /** IPv4 as text; `*` for every address, of whichever family. */
  readonly address: string;
  readonly port: number;
}

const LISTENING = '0A';

/** Rows of /proc/net/tcp and tcp6 whose state is "listen". Addresses of IPv6 other than "any" are left out. */
export function parseListeners(table: string): Listener[] {
  return table.split('\n').flatMap((row) => {
    const [, local = '', , state] = row.trim().split(/\s+/);
    const [address = '', port = ''] = local.split(':');
    if (state !== LISTENING) return [];
    if (/^0+$/.test(address)) return [{ address: '*', port: Number.parseInt(port, 16) }];
    if (address.length !== 8) return [];
    const bytes = [...Buffer.from(address, 'hex')].reverse();
    return [{ address: bytes.join('.'), port: Number.parseInt(port, 16) }];
  });
}

async function natsPortFree({ settings, sources }: ProbeInput): Promise<HostCheck> {
  const name = 'nats port';
  if (settings.natsUrl !== undefined) return passed(name, `not needed: external server ${settings.natsUrl}`);
  // With the controller running, whoever listens is its own server.
  const sockets = (await sources.readText('/proc/net/unix')) ?? '';
  const socket = settings.socket.replace(/^\/var\/run\//, '/run/');
  const running = sockets.split('\n').some((row) => row.endsWith(` ${socket}`) || row.endsWith(` ${settings.socket}`));
  if (running) return passed(name, `${settings.natsPort}, in use by the running cluster`);
  const tables = await Promise.all(['tcp', 'tcp6'].map(async (table) => await sources.readText(`/proc/net/${table}`)));
  const mine = settings.subnet.replace(/\d+\/\d+$/, '1');
  const taken = parseListeners(tables.join('\n')).find(
    ({ address, port }) => port === settings.natsPort && (address === '*' || address === mine),
  );
  if (taken === undefined) return passed(name, `${settings.natsPort} is free`);
  return failed(
    name,
    `${settings.natsPort} is taken on ${taken.address === '*' ? 'every address' : taken.address}`,
    'stop that server (a packaged one: systemctl disable --now nats-server), or set nats-port (NEXUS_NATS_PORT)',
  );
}

/** Tells attacks about the host, so that they know where to reach, and offers services there to be reached. */
import { createSocket, type Socket } from 'node:dgram';
import { readFile } from 'node:fs/promises';
import { connect, createServer, type Server } from 'node:net';
import { networkInterfaces } from 'node:os';
import { NexusError } from '../../../shared/errors.js';
import { once, outcome, until } from '../../../shared/async/wait.js';

export interface NodeJson {
  readonly id: string;
  readonly name: string;
  readonly status: string;
  readonly ip: string;
  readonly dataAddress: string;
  readonly agentStartedAt: string;
}

export interface Facts {
  readonly instance: string;
  /** Admin socket of the controller. */
  readonly socket: string;
  /** Addresses of the bridge and of all other interfaces; IPv4 and, without a zone, IPv6. */
  readonly bridge: { readonly ip: string; readonly ip6: string };
  readonly hostAddresses: readonly string[];
  /** Ports on which anything of this host listens. */
  readonly listening: readonly number[];
  /** Ports of this program's services at the bridge’s addresses. */
  readonly open: { readonly tcp: number; readonly tcp6: number; readonly udp: number };
  readonly node: NodeJson;
  readonly neighbour: NodeJson | null;
}

export interface Surroundings extends Disposable {
  readonly facts: Facts;
  /** Takes what the services have received from nodes since the last call. */
  takeReceived(): readonly string[];
  /** Whether its services answer to this host; what is not there at all would refuse an attack, too. */
  isReachable(): Promise<boolean>;
}

const REACH_MS = 10_000;
const ADDRESS_POLL_MS = 100;
const LISTENING = '0A';

export interface Seen {
  readonly instance: string;
  readonly socket: string;
  readonly node: NodeJson;
  readonly neighbour: NodeJson | null;
}

/** Code: failed_precondition (no interface of this host is in the node's network). */
export async function surroundingsOf(seen: Seen): Promise<Surroundings> {
  const bridge = bridgeOf(seen.node.ip);
  const received: string[] = [];
  const hear = (port: string) => (from: string | undefined) => {
    if (from !== undefined && from !== bridge.ip && !from.startsWith(bridge.ip6.split('%')[0] ?? ''))
      received.push(`${port} from ${from}`);
  };
  const tcp = await listener(bridge.ip, hear('TCP'));
  const tcp6 = bridge.ip6 === '' ? undefined : await listener(bridge.ip6, hear('TCP'));
  const udp = await receiver(bridge.ip, hear('UDP'));
  const ports = { tcp: portOf(tcp), tcp6: tcp6 === undefined ? 0 : portOf(tcp6), udp: udp.address().port };
  return {
    facts: {
      ...seen,
      bridge: { ...bridge, ip6: bridge.ip6.split('%')[0] ?? '' },
      hostAddresses: Object.values(networkInterfaces()).flatMap((all) => (all ?? []).map(({ address }) => address)),
      listening: await listeningPorts(),
      open: ports,
    },
    takeReceived: () => received.splice(0),
    isReachable: async () =>
      (await accepts(bridge.ip, ports.tcp)) && (tcp6 === undefined || (await accepts(bridge.ip6, ports.tcp6))),
    [Symbol.dispose]: () => {
      tcp.close();
      tcp6?.close();
      udp.close();
    },
  };
}

/** The interface in whose network the address is. */
function bridgeOf(ip: string): { ip: string; ip6: string } {
  for (const [name, addresses = []] of Object.entries(networkInterfaces())) {
    const found = addresses.find(({ family, address, netmask }) => family === 'IPv4' && isWithin(ip, address, netmask));
    const local = addresses.find(({ family, address }) => family === 'IPv6' && address.startsWith('fe80:'));
    if (found !== undefined) return { ip: found.address, ip6: local === undefined ? '' : `${local.address}%${name}` };
  }
  throw new NexusError('failed_precondition', `no network interface of this machine leads to ${ip}; see nexus status`);
}

function isWithin(ip: string, address: string, netmask: string): boolean {
  const bits = (text: string): number => text.split('.').reduce((sum, part) => sum * 256 + Number(part), 0) | 0;
  return (bits(ip) & bits(netmask)) === (bits(address) & bits(netmask));
}

async function listener(host: string, hear: (from: string | undefined) => void): Promise<Server> {
  const server = createServer((socket) => {
    socket.on('error', () => undefined);
    hear(socket.remoteAddress);
    socket.end('a service of the host\n');
  });
  server.unref();
  // The kernel first asks the network whether somebody else has an address of a bridge that has just come up.
  const listens = async (): Promise<boolean> => {
    server.listen({ host, port: 0 });
    return await once(server, 'listening').then(
      () => true,
      (error: unknown) => {
        if ((error as NodeJS.ErrnoException).code === 'EADDRNOTAVAIL') return false;
        throw error;
      },
    );
  };
  if (!(await until(listens, { everyMs: ADDRESS_POLL_MS, withinMs: REACH_MS })))
    throw new NexusError('failed_precondition', `the address ${host} of this machine is not ready; see nexus status`);
  return server;
}

async function receiver(host: string, hear: (from: string | undefined) => void): Promise<Socket> {
  const socket = createSocket('udp4');
  socket.unref();
  socket.on('message', (_data, { address }) => {
    hear(address);
  });
  socket.bind(0, host);
  await once(socket, 'listening');
  return socket;
}

const portOf = (server: Server): number => (server.address() as { port: number }).port;

async function listeningPorts(): Promise<number[]> {
  const tables = await Promise.all(
    ['tcp', 'tcp6'].map((name) => readFile(`/proc/net/${name}`, 'utf8').catch(() => '')),
  );
  const lines = tables.flatMap((text) => text.split('\n').slice(1));
  const ports = lines.map((line) => line.trim().split(/\s+/)).filter(([, , , state]) => state === LISTENING);
  return [...new Set(ports.map(([, local = '']) => Number.parseInt(local.split(':')[1] ?? '', 16)))];
}

function accepts(host: string, port: number): Promise<boolean> {
  const socket = connect({ host, port });
  const answer = outcome<boolean>(
    (resolve) => {
      socket.once('data', () => {
        resolve(true);
      });
      socket.once('error', () => {
        resolve(false);
      });
      return undefined;
    },
    { ms: REACH_MS },
  );
  return answer.catch(() => false).finally(() => socket.destroy());
}

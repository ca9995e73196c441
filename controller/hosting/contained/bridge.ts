/**
 * Bridge and veth pairs through iproute2, batched: one `ip` call on the host and one in the node's namespace. A link is
 * called `nx-<instance>-<slot>`, never by the node's name: an interface name holds 15 bytes.
 */
import { createHash } from 'node:crypto';
import { existsSync, readFileSync } from 'node:fs';
import { readdir, readFile } from 'node:fs/promises';
import { systemClock } from '../../../shared/async/clock.js';
import { until } from '../../../shared/async/wait.js';
import { NexusError } from '../../../shared/errors.js';
import { runCommand, tryCommand } from '../../../shared/exec.js';
import { toolFailure } from '../../../shared/tool-failure.js';
import { hasFirewall, removeFirewall, setFirewall, type FirewallOptions } from './firewall.js';
import type { Subnet } from '../subnet.js';
import type { LinkSpec, NetworkFabric, NetworkState } from '../network.js';

export interface BridgeOptions {
  readonly instance: string;
  readonly bridge: string;
  readonly subnet: Subnet;
  readonly bus: FirewallOptions['bus'];
  readonly onlyPort?: FirewallOptions['onlyPort'];
  /** Pause between two looks at the firewall, each of which costs a process. */
  readonly firewallEveryMs?: number;
}

const NODE_INTERFACE = 'eth0';
const LINKS = '/sys/class/net';
const FIREWALL_EVERY_MS = 30_000;
/** IFF_UP of if.h. */
const FLAG_UP = 1;
/** BR_STATE_FORWARDING of if_bridge.h. A port has another state while one of the link's ends is down. */
const FORWARDING = '3';
/** Ports whose state is read at one look; of more, these many each time in turn. */
const PORTS_PER_LOOK = 32;
/**
 * The kernel removes the link of a node that has ended, with the node's namespace, within some 10 ms, and those of many
 * nodes together. A process that removes it sooner costs more than everything else in a removal.
 */
const GOES_WITHIN_MS = 200;
const GONE_POLL_MS = 2;

export class BridgeNetwork implements NetworkFabric {
  readonly nodeInterface = NODE_INTERFACE;
  readonly hostAddress: string;
  readonly #linkPrefix: string;
  /** Slots whose port did not forward at the last check: a new link takes a moment to do so. */
  #closed = new Set<number>();
  #turn = 0;
  /** When the firewall was last seen. */
  #lookedAt = systemClock.monotonic();

  constructor(private readonly options: BridgeOptions) {
    this.hostAddress = options.subnet.hostAddress;
    this.#linkPrefix = `nx-${options.instance}-`;
  }

  async prepare(): Promise<void> {
    const { instance, bridge, subnet, bus, onlyPort } = this.options;
    await this.#refuseForeignSubnet();
    const address = `${subnet.hostAddress}/${subnet.prefixLength}`;
    const exists = (await tryCommand('ip', ['link', 'show', 'dev', bridge])).exitCode === 0;
    await ipBatch(`the bridge ${bridge} cannot be made`, [
      ...(exists ? [] : [`link add name ${bridge} address ${hardwareAddress(bridge)} type bridge forward_delay 0`]),
      `address replace ${address} dev ${bridge}`,
      `link set dev ${bridge} up`,
    ]);
    const linkPrefix = this.#linkPrefix;
    const ports = Array.from({ length: subnet.slots }, (_, slot) => {
      const link = this.#linkName(slot);
      return { link, hardwareAddress: hardwareAddress(link), ip: subnet.addressOf(slot) };
    });
    const { hostAddress } = this;
    await setFirewall({ instance, bridge, hostAddress, bus, ports, linkPrefix, onlyPort });
  }

  /** Rejects a subnet that another network has: both would silently receive each other's packets. */
  async #refuseForeignSubnet(): Promise<void> {
    const { stdout } = await runCommand('ip', ['-json', '-4', 'address', 'show'], {
      failure: 'the addresses of this machine cannot be read',
    });
    const links = JSON.parse(stdout) as { ifname?: string; addr_info?: { local?: string }[] }[];
    const foreign = links.find(
      (link) =>
        link.ifname !== this.options.bridge &&
        link.addr_info?.some(({ local }) => local !== undefined && this.options.subnet.covers(local)),
    );
    if (foreign === undefined) return;
    throw new NexusError(
      'failed_precondition',
      `interface ${foreign.ifname ?? '?'} already has an address in the subnet of ${this.options.bridge}; choose another with the setting subnet`,
    );
  }

  async attach(link: LinkSpec, signal: AbortSignal): Promise<void> {
    const { bridge, subnet } = this.options;
    const name = this.#linkName(link.slot);
    await ipBatch(
      `the link ${name} of the node cannot be made`,
      [
        `link add name ${name} type veth peer name ${NODE_INTERFACE} address ${hardwareAddress(name)} netns ${link.pid}`,
        `link set dev ${name} master ${bridge} up`,
        known(link.ip, hardwareAddress(name), bridge),
      ],
      signal,
    );
    const inside = [
      'link set dev lo up',
      `address add ${link.ip}/${subnet.prefixLength} dev ${NODE_INTERFACE}`,
      `link set dev ${NODE_INTERFACE} up`,
      `route add default via ${subnet.hostAddress}`,
      known(subnet.hostAddress, readFileSync(`${LINKS}/${bridge}/address`, 'utf8').trim(), NODE_INTERFACE),
    ];
    await runCommand('nsenter', [...inNode(link), 'ip', '-batch', '-'], {
      input: `${inside.join('\n')}\n`,
      signal,
      failure: `the address ${link.ip} cannot be given to the node`,
    });
  }

  /** Mostly reads /sys and /proc only: one process per second would cost more than everything else at rest. */
  async inspect(slots: readonly number[]): Promise<NetworkState> {
    const { bridge } = this.options;
    const folder = `${LINKS}/${bridge}`;
    if (!existsSync(`${folder}/bridge`)) return { problem: `the bridge ${bridge} is gone`, loose: [] };
    if ((Number(readFileSync(`${folder}/flags`, 'utf8')) & FLAG_UP) === 0)
      return { problem: `the bridge ${bridge} is down`, loose: [] };
    if (!(await hasAddress(this.hostAddress)))
      return { problem: `the bridge ${bridge} has lost its address ${this.hostAddress}`, loose: [] };
    if (!(await this.#hasFirewall())) return { problem: `the firewall of the bridge ${bridge} is gone`, loose: [] };
    const ports = new Set(await readdir(`${folder}/brif`));
    const cut = slots.filter((slot) => !ports.has(this.#linkName(slot)));
    const closed = this.#dueOf(slots.filter((slot) => !cut.includes(slot))).filter((slot) => !this.#isForwarding(slot));
    const loose = [...cut, ...closed.filter((slot) => this.#closed.has(slot))];
    this.#closed = new Set(closed);
    return { problem: undefined, loose };
  }

  /** Those that were closed at the last look, and the next ones in turn. */
  #dueOf(slots: readonly number[]): number[] {
    if (slots.length <= PORTS_PER_LOOK) return [...slots];
    const begin = this.#turn % slots.length;
    this.#turn = begin + PORTS_PER_LOOK;
    const inTurn = [...slots, ...slots].slice(begin, begin + PORTS_PER_LOOK);
    return [...new Set([...slots.filter((slot) => this.#closed.has(slot)), ...inTurn])];
  }

  async #hasFirewall(): Promise<boolean> {
    const { instance, firewallEveryMs = FIREWALL_EVERY_MS } = this.options;
    const now = systemClock.monotonic();
    if (now - this.#lookedAt < firewallEveryMs) return true;
    if (!(await hasFirewall(instance))) return false;
    this.#lookedAt = now;
    return true;
  }

  #isForwarding(slot: number): boolean {
    try {
      return (
        readFileSync(`${LINKS}/${this.options.bridge}/brif/${this.#linkName(slot)}/state`, 'utf8').trim() === FORWARDING
      );
    } catch {
      return false;
    }
  }

  async relink(link: LinkSpec, signal: AbortSignal): Promise<void> {
    const name = this.#linkName(link.slot);
    if (existsSync(`${LINKS}/${name}`) && !this.#closed.has(link.slot)) {
      await ipBatch(
        `the link ${name} cannot be put back on the bridge ${this.options.bridge}`,
        [`link set dev ${name} master ${this.options.bridge} up`],
        signal,
      );
      return;
    }
    await this.#delete(link.slot);
    // The host's end may have been moved or renamed; then the node's end still exists.
    await tryCommand('nsenter', [...inNode(link), 'ip', 'link', 'delete', 'dev', NODE_INTERFACE], { signal });
    await this.attach(link, signal);
  }

  async detach(slot: number): Promise<void> {
    const isGone = (): boolean => !existsSync(`${LINKS}/${this.#linkName(slot)}`);
    if (!(await until(isGone, { everyMs: GONE_POLL_MS, withinMs: GOES_WITHIN_MS }))) await this.#delete(slot);
  }

  async #delete(slot: number): Promise<void> {
    const name = this.#linkName(slot);
    const result = await tryCommand('ip', ['link', 'delete', 'dev', name]);
    // It goes with the node's end, too, also between ip's look at it and its removal.
    if (result.exitCode !== 0 && !/Cannot find device|No such device/.test(result.stderr)) {
      const { exitCode, stderr: said } = result;
      throw toolFailure(`the link ${name} cannot be removed`, { program: 'ip', verb: 'link delete', exitCode, said });
    }
  }

  async list(): Promise<readonly number[]> {
    const links = await readdir('/sys/class/net');
    return links
      .filter((name) => name.startsWith(this.#linkPrefix))
      .map((name) => Number(name.slice(this.#linkPrefix.length)))
      .filter((slot) => Number.isInteger(slot));
  }

  async destroy(): Promise<void> {
    for (const slot of await this.list()) await this.detach(slot);
    await tryCommand('ip', ['link', 'delete', 'dev', this.options.bridge, 'type', 'bridge']);
    await removeFirewall(this.options.instance);
  }

  #linkName(slot: number): string {
    return `${this.#linkPrefix}${slot}`;
  }
}

/**
 * A line of ip that tells who has an address. The kernel has one table of neighbours for all namespaces, and drops those it
 * has learnt itself when there are more than gc_thresh3, 1024 by default: a thousand nodes need more than that, and one
 * that means ill would take the bus from all. What it is told so doesn't count, and is not dropped.
 */
const known = (address: string, hardware: string, device: string): string =>
  `neigh replace ${address} lladdr ${hardware} dev ${device} nud permanent`;

const inNode = ({ pid }: LinkSpec): string[] => [`--net=/proc/${pid}/ns/net`];

/**
 * Derives a fixed hardware address from the name. Otherwise a bridge takes the lowest address of its ports, which
 * changes as nodes come and go, and a link made anew gets another one; packets would then go to the old address until
 * the neighbour tables expire.
 */
function hardwareAddress(name: string): string {
  const bytes = createHash('sha256').update(name).digest().subarray(0, 5);
  // 02: locally administered, unicast.
  return ['02', ...Array.from(bytes, (byte) => byte.toString(16).padStart(2, '0'))].join(':');
}

/** Whether packets to the address are for this host: one of its interfaces has the address and is up. */
async function hasAddress(address: string): Promise<boolean> {
  const leaf = new RegExp(`\\|-- ${address.replaceAll('.', '\\.')}\\n +/32 host LOCAL`);
  return leaf.test(await readFile('/proc/net/fib_trie', 'utf8'));
}

async function ipBatch(failure: string, lines: readonly string[], signal?: AbortSignal): Promise<void> {
  await runCommand('ip', ['-batch', '-'], { input: `${lines.join('\n')}\n`, signal, failure });
}

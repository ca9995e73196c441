/**
 * Limits what nodes reach, in the kernel, to the bus and other nodes of their instance, by the data port alone where
 * nodes are isolated: no other service of the host by any family of addresses, no other instance, nothing beyond. Each
 * link carries the addresses of its own slot alone. What a node may send to the bus, and its connections there, have a
 * limit: root in a node can read its agent's credentials and publish at the speed of the network, which would block the
 * server, the controller and thereby all other nodes.
 *
 * Two nftables tables per instance, both `nexus-<instance>`: `inet` for what comes to the host or through it, `bridge`
 * for what enters a port. Codes: those of `toolFailure`.
 */
import { KIB, MIB } from '../../../shared/limits.js';
import { runCommand, tryCommand } from '../../../shared/exec.js';

export interface Port {
  /** Host's end of the link. */
  readonly link: string;
  /** Address of the node's end. */
  readonly hardwareAddress: string;
  readonly ip: string;
}

export interface FirewallOptions {
  readonly instance: string;
  readonly bridge: string;
  /** Address of the bridge. */
  readonly hostAddress: string;
  /** `isHere`: at the bridge's address; otherwise wherever the settings say, also on another machine. */
  readonly bus: { readonly port: number; readonly isHere: boolean };
  /** One for each slot, whether a node has it or not, so that a new link needs no new rule. */
  readonly ports: readonly Port[];
  /** Beginning of the names of all links. */
  readonly linkPrefix: string;
  /** Port by which alone nodes reach each other; undefined: by every one. */
  readonly onlyPort: number | undefined;
}

/** An agent sends about 5 KiB per second; its answers to commands are at most 1 MiB. */
const BYTES_PER_SECOND = 512 * KIB;
const BURST_BYTES = 2 * MIB;
/** An agent has one, and briefly another when it reconnects. */
const CONNECTIONS = 16;
/** Bound of the senders tracked at once. */
const SENDERS = 65_535;
const ECHOES_PER_SECOND = 50;

/** Sets the rules, replacing earlier ones, in one transaction. */
export async function setFirewall(options: FirewallOptions): Promise<void> {
  const { instance, bridge } = options;
  // A table must exist to be deleted. Earlier versions had one for IPv4.
  const renew = ['ip', 'inet', 'bridge'].flatMap((family) => [
    `add table ${family} nexus-${instance}`,
    `delete table ${family} nexus-${instance}`,
  ]);
  await runCommand('nft', ['-f', '-'], {
    input: [...renew, towardsHost(options), intoPorts(options)].join('\n'),
    failure: `the traffic of nodes on ${bridge} cannot be limited`,
    hint: 'nft and the nf_tables of the kernel are needed',
  });
}

function towardsHost({ instance, bridge, hostAddress, bus }: FirewallOptions): string {
  const limit = `limit rate over ${BYTES_PER_SECOND} bytes/second burst ${BURST_BYTES} bytes`;
  const toBus = `${bus.isHere ? `ip daddr ${hostAddress} ` : ''}tcp dport ${bus.port}`;
  const beyond = bus.isHere ? '' : `${toBus} accept`;
  // Refused, not dropped, so that who is wrong learns it at once. What comes from the node's side answers is known by ct.
  return `
    table inet nexus-${instance} {
      set senders { type ipv4_addr; flags dynamic,timeout; timeout 1m; size ${SENDERS}; }
      set connected { type ipv4_addr; flags dynamic; size ${SENDERS}; }
      chain bus {
        ct state new add @connected { ip saddr ct count over ${CONNECTIONS} } reject with tcp reset
        update @senders { ip saddr ${limit} } drop
        accept
      }
      chain input {
        type filter hook input priority 0; policy accept;
        iifname != { "lo", "${bridge}" } ip daddr ${hostAddress} drop
        iifname != "${bridge}" accept
        meta nfproto ipv6 drop
        ${toBus} jump bus
        ct state established,related accept
        ip daddr ${hostAddress} icmp type echo-request limit rate ${ECHOES_PER_SECOND}/second accept
        pkttype != host drop
        meta l4proto tcp reject with tcp reset
        reject with icmpx admin-prohibited
      }
      chain forward {
        type filter hook forward priority 0; policy accept;
        iifname "${bridge}" oifname "${bridge}" accept
        iifname "${bridge}" jump beyond
        oifname "${bridge}" jump within
      }
      chain beyond {
        ct state established,related accept
        ${beyond}
        meta nfproto ipv6 drop
        reject with icmpx admin-prohibited
      }
      chain within {
        ct state established,related accept
        drop
      }
    }`;
}

/** Addresses of IPv6 are those that the kernel gives a link by itself; no other is used. */
function intoPorts({ instance, ports, linkPrefix, onlyPort }: FirewallOptions): string {
  const elements = (of: (port: Port) => string): string => ports.map(of).join(', ');
  return `
    table bridge nexus-${instance} {
      set senders {
        type ifname . ether_addr . ipv4_addr
        elements = { ${elements(({ link, hardwareAddress, ip }) => `"${link}" . ${hardwareAddress} . ${ip}`)} }
      }
      set senders6 {
        type ifname . ether_addr . ipv6_addr
        elements = { ${elements(({ link, hardwareAddress }) => `"${link}" . ${hardwareAddress} . ${linkLocal(hardwareAddress)}`)} }
      }
      set ends {
        type ifname . ether_addr
        elements = { ${elements(({ link, hardwareAddress }) => `"${link}" . ${hardwareAddress}`)} }
      }
      chain ports {
        type filter hook prerouting priority -300; policy accept;
        iifname != "${linkPrefix}*" accept
        iifname . ether saddr . ip saddr @senders accept
        ether type arp iifname . arp saddr ether . arp saddr ip @senders iifname . ether saddr @ends accept
        iifname . ether saddr . ip6 saddr @senders6 accept
        ip6 saddr :: icmpv6 type nd-neighbor-solicit iifname . ether saddr @ends accept
        drop
      }${onlyPort === undefined ? '' : between(linkPrefix, onlyPort)}
    }`;
}

/** Answers are what comes from the port and begins no connection. The bridge keeps no state of connections for it. */
const between = (linkPrefix: string, onlyPort: number): string => `
      chain between {
        type filter hook forward priority 0; policy accept;
        iifname != "${linkPrefix}*" accept
        ether type arp accept
        ip protocol tcp tcp dport ${onlyPort} accept
        ip protocol tcp tcp sport ${onlyPort} tcp flags & (syn | ack) != syn accept
        drop
      }`;

/** RFC 4291, appendix A: the address within its link that derives from a hardware address. */
function linkLocal(hardwareAddress: string): string {
  const [first = 0, ...rest] = hardwareAddress.split(':').map((byte) => Number.parseInt(byte, 16));
  const bytes = [first ^ 2, ...rest.slice(0, 2), 0xff, 0xfe, ...rest.slice(2)];
  const hex = bytes.map((byte) => byte.toString(16).padStart(2, '0')).join('');
  return `fe80::${(hex.match(/.{4}/g) ?? []).join(':')}`;
}

/** Whether both tables are there: whoever loads other rules may have thrown all away. */
export async function hasFirewall(instance: string): Promise<boolean> {
  const { stdout } = await tryCommand('nft', ['list', 'tables']);
  const found = stdout.split('\n');
  return ['inet', 'bridge'].every((family) => found.includes(`table ${family} nexus-${instance}`));
}

/** Succeeds if there is none. */
export async function removeFirewall(instance: string): Promise<void> {
  for (const family of ['ip', 'inet', 'bridge'])
    await tryCommand('nft', ['delete', 'table', family, `nexus-${instance}`]);
}

/**
 * Limits, in the kernel, what each node may send to the bus, and its connections there. Root in a node can read its
 * agent's credentials and publish at the speed of the network: without limits one node would block the server, the
 * controller and thereby all other nodes. Packets over the limit are dropped, which slows the sender's connection down.
 *
 * One nftables table per instance, `nexus-<instance>`. Codes: those of `toolFailure`.
 */
import { KIB, MIB } from '../../../shared/limits.js';
import { runCommand, tryCommand } from '../../../shared/exec.js';

export interface GuardOptions {
  readonly instance: string;
  readonly bridge: string;
  readonly port: number;
}

/** An agent sends about 5 KiB per second; its answers to commands are at most 1 MiB. */
const BYTES_PER_SECOND = 512 * KIB;
const BURST_BYTES = 2 * MIB;
/** An agent has one, and briefly another when it reconnects. */
const CONNECTIONS = 16;
/** Maximum number of senders tracked at once: a node can use any address of its subnet. */
const SENDERS = 65_535;

/** Sets the limits, replacing earlier ones. */
export async function guardBus({ instance, bridge, port }: GuardOptions): Promise<void> {
  const table = `ip nexus-${instance}`;
  const limit = `limit rate over ${BYTES_PER_SECOND} bytes/second burst ${BURST_BYTES} bytes`;
  // One transaction. A table must exist to be deleted.
  const rules = `
    add table ${table}
    delete table ${table}
    table ${table} {
      set senders { type ipv4_addr; flags dynamic,timeout; timeout 1m; size ${SENDERS}; }
      set connected { type ipv4_addr; flags dynamic; size ${SENDERS}; }
      chain bus {
        type filter hook input priority 0; policy accept;
        iifname != "${bridge}" accept
        tcp dport != ${port} accept
        ct state new add @connected { ip saddr ct count over ${CONNECTIONS} } reject with tcp reset
        update @senders { ip saddr ${limit} } drop
      }
    }`;
  await runCommand('nft', ['-f', '-'], {
    input: rules,
    failure: `what nodes send to the bus on ${bridge} cannot be bounded`,
    hint: 'nft and the nf_tables of the kernel are needed',
  });
}

/** Succeeds if there is none. */
export async function removeGuard(instance: string): Promise<void> {
  await tryCommand('nft', ['delete', 'table', 'ip', `nexus-${instance}`]);
}

/** Who may read the figures: all, or the addresses and networks of a setting. */
import { BlockList, isIP } from 'node:net';

/** `from`: addresses and networks (10.0.0.0/8) with commas between, as the settings' schema has checked; undefined: everybody. */
export function readersOf(from: string | undefined): (address: string) => boolean {
  if (from === undefined) return () => true;
  const networks = new BlockList();
  for (const entry of from.split(',')) {
    const [address = '', prefix] = entry.split('/');
    if (prefix === undefined) networks.addAddress(address, familyOf(address));
    else networks.addSubnet(address, Number(prefix), familyOf(address));
  }
  return (address) => isIP(address) !== 0 && networks.check(address, familyOf(address));
}

const familyOf = (address: string): 'ipv4' | 'ipv6' => (isIP(address) === 6 ? 'ipv6' : 'ipv4');

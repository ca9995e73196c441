/** Who may read the figures: all, or the addresses and networks of a setting. */
import { BlockList, isIP } from 'node:net';
import { NexusError } from '../../shared/errors.js';

/** `from`: addresses and networks (10.0.0.0/8) with commas between; undefined: everybody. Code: invalid_argument. */
export function readersOf(from: string | undefined): (address: string) => boolean {
  if (from === undefined) return () => true;
  const networks = new BlockList();
  for (const entry of from.split(',')) addTo(networks, entry.trim());
  return (address) => isIP(address) !== 0 && networks.check(address, familyOf(address));
}

function addTo(networks: BlockList, entry: string): void {
  const [address = '', prefix, ...rest] = entry.split('/');
  const most = isIP(address) === 6 ? 128 : 32;
  const length = prefix === undefined ? most : Number(prefix);
  if (isIP(address) === 0 || rest.length > 0 || !/^\d{1,3}$/.test(prefix ?? '0') || length > most) {
    throw new NexusError(
      'invalid_argument',
      `gateway-metrics-from: "${entry}" is no address and no network; write e.g. 127.0.0.1,10.0.0.0/8`,
    );
  }
  networks.addSubnet(address, length, familyOf(address));
}

const familyOf = (address: string): 'ipv4' | 'ipv6' => (isIP(address) === 6 ? 'ipv6' : 'ipv4');

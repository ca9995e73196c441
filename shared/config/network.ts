/** Addresses and networks as settings name them. */
import { isIP } from 'node:net';

/** An IPv4 or IPv6 address, or a network as 10.0.0.0/8. */
export function isAddressOrNetwork(text: string): boolean {
  const [address = '', prefix, ...rest] = text.split('/');
  const most = isIP(address) === 6 ? 128 : 32;
  return isIP(address) !== 0 && rest.length === 0 && (prefix === undefined || isPrefix(prefix, most));
}

/** An IPv4 network of /22 to /29, by its first address; none that hosts never have (0.0.0.0/8, 224.0.0.0 and above). */
export function isSubnet(text: string): boolean {
  const [, address = '', length = ''] = /^([\d.]+)\/(2[2-9])$/.exec(text) ?? [];
  if (isIP(address) !== 4) return false;
  const octets = address.split('.').map(Number);
  const [first = 0, , third = 0, last = 0] = octets;
  return first > 0 && first < 224 && (256 * third + last) % 2 ** (32 - Number(length)) === 0;
}

const isPrefix = (text: string, most: number): boolean => /^\d{1,3}$/.test(text) && Number(text) <= most;

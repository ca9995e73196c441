/** Addresses and networks as settings name them. */
import { isIP } from 'node:net';

/** An IPv4 or IPv6 address, or a network as 10.0.0.0/8. */
export function isAddressOrNetwork(text: string): boolean {
  const [address = '', prefix, ...rest] = text.split('/');
  const most = isIP(address) === 6 ? 128 : 32;
  return isIP(address) !== 0 && rest.length === 0 && (prefix === undefined || isPrefix(prefix, most));
}

const isPrefix = (text: string, most: number): boolean => /^\d{1,3}$/.test(text) && Number(text) <= most;

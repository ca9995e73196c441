/**
 * The address that calls are counted by. A household has one IPv4 address and a whole /64 of IPv6: counting single IPv6
 * addresses would count nothing.
 */
import { isIPv4, isIPv6 } from 'node:net';

/** What calls are counted under that come without a readable address. */
export const UNKNOWN_ADDRESS = 'unknown';

export function addressGroup(address: string): string {
  if (isIPv4(address)) return address;
  if (!isIPv6(address) || address.includes('%')) return UNKNOWN_ADDRESS;
  const words = ipv6Words(address);
  const isMapped = words.slice(0, 5).every((word) => word === 0) && words[5] === 0xffff;
  if (isMapped) return ipv4Of(words[6] ?? 0, words[7] ?? 0);
  return `${words
    .slice(0, 4)
    .map((word) => word.toString(16))
    .join(':')}::/64`;
}

/** Of a call: the admin socket is a place of its own. */
export const originGroup = (address: string): string => (address === '' ? 'local' : addressGroup(address));

function ipv6Words(address: string): number[] {
  // The URL parser brings every spelling to one, embedded IPv4 included.
  const canonical = new URL(`http://[${address}]/`).hostname.slice(1, -1);
  const [head = '', tail] = canonical.split('::');
  const words = (part: string): number[] => (part === '' ? [] : part.split(':').map((word) => parseInt(word, 16)));
  if (tail === undefined) return words(head);
  const [before, after] = [words(head), words(tail)];
  return [...before, ...Array<number>(8 - before.length - after.length).fill(0), ...after];
}

const ipv4Of = (high: number, low: number): string => [high >> 8, high & 255, low >> 8, low & 255].join('.');

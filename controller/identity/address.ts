/**
 * The address by which calls are counted. A household has one IPv4 address but a whole /64 of IPv6, so single IPv6
 * addresses would bound nothing.
 */
import { isIPv4, isIPv6 } from 'node:net';

/** Counts all calls without a readable address together. */
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

/** Group of a call's address; the admin socket, which has none, is a group of its own. */
export const originGroup = (address: string): string => (address === '' ? 'local' : addressGroup(address));

function ipv6Words(address: string): number[] {
  // The URL parser normalises every spelling, embedded IPv4 included.
  const canonical = new URL(`http://[${address}]/`).hostname.slice(1, -1);
  const [head = '', tail] = canonical.split('::');
  const words = (part: string): number[] => (part === '' ? [] : part.split(':').map((word) => parseInt(word, 16)));
  if (tail === undefined) return words(head);
  const [before, after] = [words(head), words(tail)];
  return [...before, ...Array<number>(8 - before.length - after.length).fill(0), ...after];
}

const ipv4Of = (high: number, low: number): string => [high >> 8, high & 255, low >> 8, low & 255].join('.');

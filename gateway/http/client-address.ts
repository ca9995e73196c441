/** Where a request came from, of what its connection says and what proxies say of it. */
import { isIP } from 'node:net';

/** Clients behind a proxy that names none. */
const UNKNOWN_ADDRESS = '';

/** With N proxies in front, the Nth entry from the right is what the outermost of them saw; what is left of it is hearsay. */
export function clientAddress(direct: string, forwardedFor: string, proxies: number): string {
  if (proxies === 0) return plainAddress(direct);
  return plainAddress((forwardedFor.split(',').at(-proxies) ?? '').trim());
}

/** An IPv4 client of a socket that listens for both is shown as ::ffff:1.2.3.4. */
function plainAddress(address: string): string {
  const plain = address.replace(/^::ffff:(?=\d+\.\d+\.\d+\.\d+$)/i, '');
  return isIP(plain) === 0 ? UNKNOWN_ADDRESS : plain;
}

/** Addresses of a subnet by slot: pure arithmetic. .1 is the host's; slot n has the n+2nd address. */
import { NexusError } from '../../shared/errors.js';

export interface Subnet {
  readonly prefixLength: number;
  /** Maximum number of nodes. */
  readonly slots: number;
  readonly hostAddress: string;
  addressOf(slot: number): string;
}

/** `cidr` like 10.0.42.0/24, /24 to /29. Code: invalid_argument. */
export function parseSubnet(cidr: string): Subnet {
  const [address = '', length = ''] = cidr.split('/');
  const octets = address.split('.').map(Number);
  const prefixLength = Number(length);
  const size = 2 ** (32 - prefixLength);
  const last = octets[3] ?? 0;
  if (octets.length !== 4 || octets.some((octet) => !(octet >= 0 && octet <= 255)) || last % size !== 0) {
    throw new NexusError('invalid_argument', `setting subnet: ${cidr} is not the first address of an IPv4 network`);
  }
  const base = octets.slice(0, 3).join('.');
  // The first address names the network, the second is the host's, the last is for broadcast.
  const slots = size - 3;
  return {
    prefixLength,
    slots,
    hostAddress: `${base}.${last + 1}`,
    addressOf: (slot) => {
      if (!(slot >= 0 && slot < slots)) throw new RangeError(`slot ${slot} is outside ${cidr}`);
      return `${base}.${last + 2 + slot}`;
    },
  };
}

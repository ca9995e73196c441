/** Addresses of a subnet by slot: pure arithmetic. The first is the host's; slot n has the n+1st one after it. */
import { NexusError } from '../../shared/errors.js';
import { isSubnet } from '../../shared/config/network.js';

export interface Subnet {
  readonly prefixLength: number;
  /** Maximum number of nodes. */
  readonly slots: number;
  readonly hostAddress: string;
  addressOf(slot: number): string;
  /** Whether an IPv4 address lies in it. */
  covers(address: string): boolean;
}

/** The name of a link holds three digits of the slot, and a bridge 1,023 ports. */
const MOST_SLOTS = 1000;

/** `cidr` like 10.0.42.0/24, /22 to /29. Code: invalid_argument. */
export function parseSubnet(cidr: string): Subnet {
  if (!isSubnet(cidr))
    throw new NexusError(
      'invalid_argument',
      `setting subnet: ${cidr} is not the first address of an IPv4 network of /22 to /29`,
    );
  const [address = '', length = ''] = cidr.split('/');
  const first = numberOf(address);
  const size = 2 ** (32 - Number(length));
  // The first address names the network, the second is the host's, the last is for broadcast.
  const slots = Math.min(size - 3, MOST_SLOTS);
  return {
    prefixLength: Number(length),
    slots,
    hostAddress: addressAt(first + 1),
    addressOf: (slot) => {
      if (!(slot >= 0 && slot < slots)) throw new RangeError(`slot ${slot} is outside ${cidr}`);
      return addressAt(first + 2 + slot);
    },
    covers: (other) => numberOf(other) >= first && numberOf(other) < first + size,
  };
}

const numberOf = (address: string): number => Buffer.from(address.split('.').map(Number)).readUInt32BE();

function addressAt(number: number): string {
  const bytes = Buffer.alloc(4);
  bytes.writeUInt32BE(number);
  return bytes.join('.');
}

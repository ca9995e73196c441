/** The filter of sandboxes, run by an interpreter of the kernel's filter machine. */
import { expect } from 'chai';
import { ALLOWED, ALLOWED_WITH, NOT_THERE } from '../../controller/lambda/sandbox/seccomp-allowed.js';
import { sandboxFilter } from '../../controller/lambda/sandbox/seccomp-filter.js';
import { SYSCALL_NUMBERS, type SyscallName } from '../../controller/lambda/sandbox/syscall-numbers.js';
import { codeOf } from '../support/codes.js';

const ALLOW = 0x7fff0000;
const KILL = 0x80000000;
const EPERM = 0x00050001;
const ENOSYS = 0x00050026;
const X64 = 0xc000003e;

/** What the kernel would answer. Fails where a jump or a load leaves its bounds. */
function ask(filter: Buffer, number: number, args: readonly bigint[] = [], architecture = X64): number {
  const data = Buffer.alloc(64);
  data.writeUInt32LE(number >>> 0, 0);
  data.writeUInt32LE(architecture, 4);
  args.forEach((value, at) => data.writeBigUInt64LE(value, 16 + 8 * at));
  let value = 0;
  for (let at = 0; at < filter.length / 8; at += 1) {
    const code = filter.readUInt16LE(8 * at);
    const [ifTrue, ifFalse] = [filter.readUInt8(8 * at + 2), filter.readUInt8(8 * at + 3)];
    const operand = filter.readUInt32LE(8 * at + 4);
    if (code === 0x06) return operand;
    if (code === 0x20) value = data.readUInt32LE(operand);
    else if (code === 0x54) value = (value & operand) >>> 0;
    else if (code === 0x15) at += value === operand ? ifTrue : ifFalse;
    else if (code === 0x35) at += value >= operand ? ifTrue : ifFalse;
    else throw new Error(`instruction ${code}`);
  }
  throw new Error('the program has no end');
}

describe('the system call filter of sandboxes', () => {
  const filter = sandboxFilter('x64');
  const call = (name: SyscallName, ...args: bigint[]): number => ask(filter, SYSCALL_NUMBERS[name][0], args);
  const simple = new Set<string>(ALLOWED.flatMap(({ names }) => names));

  it('answers for every number: what is listed is allowed, everything else refused', () => {
    const byNumber = new Map<number, string>(Object.entries(SYSCALL_NUMBERS).map(([name, [number]]) => [number, name]));
    for (let number = 0; number < 600; number += 1) {
      const name = byNumber.get(number) ?? '';
      if (ALLOWED_WITH.some((rule) => rule.name === name)) continue;
      const expected = simple.has(name) ? ALLOW : (NOT_THERE as readonly string[]).includes(name) ? ENOSYS : EPERM;
      expect(ask(filter, number), `${number} ${name}`).to.equal(expected);
    }
  });

  it('ends what calls by another architecture or by x32', () => {
    expect(ask(filter, 0, [], 0x40000003)).to.equal(KILL);
    expect(ask(filter, 0x40000000)).to.equal(KILL);
    expect(ask(filter, 0xffffffff)).to.equal(KILL);
  });

  it('lets processes be made, and no namespace of any kind', () => {
    expect(call('clone', 17n)).to.equal(ALLOW);
    expect(call('clone', 0x3d0f00n)).to.equal(ALLOW);
    for (const flag of [0x20000n, 0x2000000n, 0x4000000n, 0x8000000n, 0x10000000n, 0x20000000n, 0x40000000n]) {
      expect(call('clone', flag | 17n), flag.toString(16)).to.equal(EPERM);
    }
  });

  it('lets bytes go to the other end of a pair, and to no address', () => {
    expect(call('socketpair', 1n)).to.equal(ALLOW);
    expect(call('socketpair', 2n)).to.equal(EPERM);
    expect(call('sendto', 5n, 1n, 1n, 0n, 0n)).to.equal(ALLOW);
    expect(call('sendto', 5n, 1n, 1n, 0n, 0x1000n)).to.equal(EPERM);
    // A pointer whose lower half is zero.
    expect(call('sendto', 5n, 1n, 1n, 0n, 0x7f0000000000n)).to.equal(EPERM);
  });

  it('lets no urgent data and no filter on to a pair', () => {
    expect(call('sendto', 5n, 1n, 1n, 0x4000n, 0n), 'MSG_NOSIGNAL').to.equal(ALLOW);
    expect(call('sendto', 5n, 1n, 1n, 0x4001n, 0n), 'MSG_OOB').to.equal(EPERM);
    expect(call('recvfrom', 5n, 1n, 1n, 0n)).to.equal(ALLOW);
    expect(call('recvfrom', 5n, 1n, 1n, 1n), 'MSG_OOB').to.equal(EPERM);
    expect(call('setsockopt', 5n, 1n, 8n), 'SO_RCVBUF').to.equal(ALLOW);
    expect(call('setsockopt', 5n, 1n, 67n), 'the last one that is allowed').to.equal(ALLOW);
    expect(call('getsockopt', 5n, 1n, 4n), 'SO_ERROR').to.equal(ALLOW);
    for (const option of [17n, 77n]) expect(call('getsockopt', 5n, 1n, option), 'who is there').to.equal(EPERM);
    for (const option of [26n, 50n, 51n, 52n]) expect(call('setsockopt', 5n, 1n, option)).to.equal(EPERM);
  });

  it('allows few requests to devices and of a process about itself', () => {
    expect(call('ioctl', 1n, 0x5401n)).to.equal(ALLOW);
    expect(call('ioctl', 1n, 0x5412n), 'TIOCSTI').to.equal(EPERM);
    expect(call('prctl', 15n)).to.equal(ALLOW);
    expect(call('prctl', 22n), 'another filter').to.equal(EPERM);
    expect(call('prctl', 47n), 'ambient capabilities').to.equal(EPERM);
  });

  it('lets nobody watch what others do with files that all have', () => {
    for (const command of [0n, 2n, 4n, 6n, 37n, 1030n, 1032n]) expect(call('fcntl', 3n, command)).to.equal(ALLOW);
    for (const [name, command] of Object.entries({
      NOTIFY: 1026,
      SETLEASE: 1024,
      GETLEASE: 1025,
      SETOWN: 8,
      SETSIG: 10,
    }))
      expect(call('fcntl', 3n, BigInt(command), 1n), name).to.equal(EPERM);
    // Commands are 32 bits: what stands above is not looked at by the kernel either.
    expect(call('fcntl', 3n, 0x1_0000_0402n)).to.equal(EPERM);
    expect(call('fadvise64', 3n, 0n, 0n, 3n)).to.equal(ALLOW);
    expect(call('fadvise64', 3n, 0n, 0n, 4n), 'DONTNEED').to.equal(EPERM);
    for (const advice of [4n, 8n, 14n, 23n]) expect(call('madvise', 0n, 1n, advice)).to.equal(ALLOW);
    for (const advice of [12n, 20n, 21n, 100n]) expect(call('madvise', 0n, 1n, advice)).to.equal(EPERM);
  });

  it('knows 64-bit ARM, and refuses what it does not know', async () => {
    const arm = sandboxFilter('arm64');
    expect(ask(arm, 63, [], 0xc00000b7), 'read').to.equal(ALLOW);
    expect(ask(arm, 0, [], 0xc00000b7), 'io_setup').to.equal(EPERM);
    expect(ask(arm, 63, [], X64)).to.equal(KILL);
    expect(await codeOf(() => sandboxFilter('riscv64'))).to.equal('failed_precondition');
  });
});

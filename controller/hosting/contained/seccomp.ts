/** Builds the filter of a node's system calls from the lists of seccomp-allowed.ts (`linux.seccomp` of the OCI specification). */
import { ABSENT_SOCKETS, ALLOWED, ALLOWED_BUT, ALLOWED_SOCKETS, ALLOWED_VALUES, NOT_THERE } from './seccomp-allowed.js';

interface SeccompRule {
  readonly names: readonly string[];
  readonly action: 'SCMP_ACT_ALLOW' | 'SCMP_ACT_ERRNO';
  readonly errnoRet?: number;
  /** All comparisons must hold where there are several; the runtimes allow one for each argument. */
  readonly args?: readonly { index: number; value: number; valueTwo: number; op: 'SCMP_CMP_MASKED_EQ' }[];
}

interface Comparison {
  readonly mask: number;
  readonly value: number;
}

const EPERM = 1;
const ENOSYS = 38;
const EPROTONOSUPPORT = 93;
/** All that the kernel looks at of the arguments of `socket`. */
const INT = 0xffffffff;
const BITS = 32;

/** 32-bit system calls are refused by leaving out their tables. */
export function nodeSeccomp(architecture: NodeJS.Architecture): object {
  const name = architecture === 'arm64' ? 'SCMP_ARCH_AARCH64' : 'SCMP_ARCH_X86_64';
  return { defaultAction: 'SCMP_ACT_ERRNO', defaultErrnoRet: EPERM, architectures: [name], syscalls: rules() };
}

const rules = (): readonly SeccompRule[] => [
  ...ALLOWED.map(({ names }) => ({ names, action: 'SCMP_ACT_ALLOW' as const })),
  ...ALLOWED_VALUES.flatMap(({ name, argument, mask, values }) =>
    values.map((value) => allowed(name, argument, { mask, value })),
  ),
  ...ALLOWED_BUT.flatMap(({ name, argument, values }) =>
    allBut(values).map((comparison) => allowed(name, argument, comparison)),
  ),
  ...ALLOWED_SOCKETS.flatMap((sockets) => rulesFor(sockets, { action: 'SCMP_ACT_ALLOW' })),
  ...ABSENT_SOCKETS.flatMap((sockets) => rulesFor(sockets, { action: 'SCMP_ACT_ERRNO', errnoRet: EPROTONOSUPPORT })),
  { names: NOT_THERE, action: 'SCMP_ACT_ERRNO', errnoRet: ENOSYS },
];

const rulesFor = (
  { families, protocols }: (typeof ALLOWED_SOCKETS)[number],
  answer: Pick<SeccompRule, 'action' | 'errnoRet'>,
): SeccompRule[] =>
  families.flatMap((family) =>
    protocols.map((protocol) => ({
      names: ['socket'],
      ...answer,
      args: [compared(0, { mask: INT, value: family }), compared(2, { mask: INT, value: protocol })],
    })),
  );

const compared = (index: number, { mask, value }: Comparison): NonNullable<SeccompRule['args']>[number] => ({
  index,
  value: mask,
  valueTwo: value,
  op: 'SCMP_CMP_MASKED_EQ',
});

const allowed = (name: string, index: number, comparison: Comparison): SeccompRule => ({
  names: [name],
  action: 'SCMP_ACT_ALLOW',
  args: [compared(index, comparison)],
});

/**
 * Comparisons one of which holds for each 32-bit number but these: for each number of leading bits, the values that
 * begin like one of these up to there and differ in the last of the bits. A comparison of the whole argument would be
 * got around by its upper half, which the kernel drops.
 */
function allBut(values: readonly number[]): readonly Comparison[] {
  const found: Comparison[] = [];
  let prefixes = [0];
  for (let bit = BITS - 1; bit >= 0; bit -= 1) {
    const mask = (0xffffffff << bit) >>> 0;
    const next = prefixes.flatMap((prefix) => [prefix, (prefix | (1 << bit)) >>> 0]);
    const isPrefix = (prefix: number): boolean => values.some((value) => (value & mask) >>> 0 === prefix);
    found.push(...next.filter((prefix) => !isPrefix(prefix)).map((value) => ({ mask, value })));
    prefixes = next.filter(isPrefix);
  }
  return found;
}

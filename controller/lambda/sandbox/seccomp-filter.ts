/**
 * The allow-list as a program for the kernel's filter machine (classic BPF, linux/filter.h): pure, so that no compiler and
 * no library is needed at run time. Instructions are 8 bytes: code, where to jump if true and if false, and an operand.
 */
import { NexusError } from '../../../shared/errors.js';
import { ALLOWED, ALLOWED_WITH, NOT_THERE } from './seccomp-allowed.js';
import { SYSCALL_NUMBERS, type SyscallName } from './syscall-numbers.js';

const LOAD = 0x20;
const AND = 0x54;
const RETURN = 0x06;
const JUMP_IF_EQUAL = 0x15;
const JUMP_IF_AT_LEAST = 0x35;

// linux/seccomp.h: where struct seccomp_data has them, and the verdicts.
const NUMBER_AT = 0;
const ARCHITECTURE_AT = 4;
const ARGUMENTS_AT = 16;
const ALLOW = 0x7fff0000;
const KILL_PROCESS = 0x80000000;
const refuse = (errno: number): number => 0x00050000 | errno;
const EPERM = 1;
const ENOSYS = 38;

/** AUDIT_ARCH_*, linux/audit.h. Both are little-endian. */
const ARCHITECTURES: Partial<Record<NodeJS.Architecture, { readonly column: 0 | 1; readonly audit: number }>> = {
  x64: { column: 0, audit: 0xc000003e },
  arm64: { column: 1, audit: 0xc00000b7 },
};
/** On x86-64 numbers from here on are the x32 interface: the same calls once more, past any filter that forgets it. */
const X32_BIT = 0x40000000;

type Rule = (typeof ALLOWED_WITH)[number];

interface Instruction {
  readonly code: number;
  readonly ifTrue?: number;
  readonly ifFalse?: number;
  readonly operand: number;
}

const load = (at: number): Instruction => ({ code: LOAD, operand: at });
const answer = (verdict: number): Instruction => ({ code: RETURN, operand: verdict });
/** Skips the next `count` instructions unless the loaded value is `value`. */
const unlessEqualSkip = (value: number, count: number): Instruction => ({
  code: JUMP_IF_EQUAL,
  ifFalse: count,
  operand: value,
});

/** Code: failed_precondition on an architecture that has no table. */
export function sandboxFilter(architecture: NodeJS.Architecture): Buffer {
  const known = ARCHITECTURES[architecture];
  if (known === undefined) {
    throw new NexusError('failed_precondition', `sandboxes are not supported on ${architecture}; use x86-64 or ARM64`);
  }
  const numberOf = (name: SyscallName): number | undefined => SYSCALL_NUMBERS[name][known.column];
  return encode([
    load(ARCHITECTURE_AT),
    { code: JUMP_IF_EQUAL, ifTrue: 1, operand: known.audit },
    answer(KILL_PROCESS),
    load(NUMBER_AT),
    { code: JUMP_IF_AT_LEAST, ifFalse: 1, operand: X32_BIT },
    answer(KILL_PROCESS),
    ...ALLOWED.flatMap((group) => group.names).flatMap((name) => onCall(numberOf(name), [answer(ALLOW)])),
    ...NOT_THERE.flatMap((name) => onCall(numberOf(name), [answer(refuse(ENOSYS))])),
    ...[...rulesByName()].flatMap(([name, rules]) =>
      onCall(numberOf(name), [...rules.flatMap(argumentCheck), answer(ALLOW)]),
    ),
    answer(refuse(EPERM)),
  ]);
}

function rulesByName(): ReadonlyMap<SyscallName, readonly Rule[]> {
  const rules = new Map<SyscallName, Rule[]>();
  for (const rule of ALLOWED_WITH) rules.set(rule.name, [...(rules.get(rule.name) ?? []), rule]);
  return rules;
}

/** `work` must end with an answer on every way. */
const onCall = (number: number | undefined, work: readonly Instruction[]): Instruction[] =>
  number === undefined ? [] : [unlessEqualSkip(number, work.length), ...work];

/** Goes on behind its end when the rule holds. */
function argumentCheck({ argument, mask, values, isPointer }: Rule): Instruction[] {
  const low = ARGUMENTS_AT + 8 * argument;
  const upperIsZero =
    isPointer === true ? [load(low + 4), { code: JUMP_IF_EQUAL, ifTrue: 1, operand: 0 }, answer(refuse(EPERM))] : [];
  const masked = [load(low), { code: AND, operand: mask }];
  const choices = values.map((value, at) => ({ code: JUMP_IF_EQUAL, ifTrue: values.length - at, operand: value }));
  return [...upperIsZero, ...masked, ...choices, answer(refuse(EPERM))];
}

function encode(program: readonly Instruction[]): Buffer {
  const bytes = Buffer.alloc(8 * program.length);
  program.forEach(({ code, ifTrue = 0, ifFalse = 0, operand }, index) => {
    bytes.writeUInt16LE(code, 8 * index);
    bytes.writeUInt8(ifTrue, 8 * index + 2);
    bytes.writeUInt8(ifFalse, 8 * index + 3);
    bytes.writeUInt32LE(operand >>> 0, 8 * index + 4);
  });
  return bytes;
}

/**
 * The one error type of Nexus and the one table that says what each code means outside.
 * Codes are matched, never message texts; translation happens only at the edges (rpc, HTTP, CLI).
 */
import type { Advice, Notice } from './advice/advice.js';

interface CodeMeaning {
  /** Canonical gRPC status number. */
  readonly grpc: number;
  readonly http: number;
  /** CLI exit code: 1 failed, 2 wrong usage, 3 not found, 4 refused, 5 unavailable. */
  readonly exit: number;
  /** Whether the same call may succeed later without a change by the caller. */
  readonly retryable: boolean;
}

const TABLE = {
  invalid_argument: { grpc: 3, http: 400, exit: 2, retryable: false },
  not_found: { grpc: 5, http: 404, exit: 3, retryable: false },
  already_exists: { grpc: 6, http: 409, exit: 4, retryable: false },
  permission_denied: { grpc: 7, http: 403, exit: 4, retryable: false },
  resource_exhausted: { grpc: 8, http: 429, exit: 4, retryable: true },
  failed_precondition: { grpc: 9, http: 409, exit: 4, retryable: false },
  aborted: { grpc: 10, http: 409, exit: 4, retryable: true },
  unimplemented: { grpc: 12, http: 501, exit: 1, retryable: false },
  internal: { grpc: 13, http: 500, exit: 1, retryable: false },
  unavailable: { grpc: 14, http: 503, exit: 5, retryable: true },
  data_loss: { grpc: 15, http: 500, exit: 1, retryable: false },
  unauthenticated: { grpc: 16, http: 401, exit: 4, retryable: false },
  deadline_exceeded: { grpc: 4, http: 504, exit: 5, retryable: true },
  cancelled: { grpc: 1, http: 499, exit: 1, retryable: false },
} as const satisfies Record<string, CodeMeaning>;

export type ErrorCode = keyof typeof TABLE;
export type ErrorDetails = Readonly<Record<string, string | number | boolean | readonly string[]>>;

export const meaningOf = (code: ErrorCode): CodeMeaning => TABLE[code];

export const isErrorCode = (text: string): text is ErrorCode => Object.hasOwn(TABLE, text);

/** The code for a gRPC status number; `internal` for numbers that Nexus does not use. */
export function codeOfGrpcStatus(status: number): ErrorCode {
  const found = Object.entries(TABLE).find(([, meaning]) => meaning.grpc === status);
  return found !== undefined && isErrorCode(found[0]) ? found[0] : 'internal';
}

/**
 * An error for people: `message` says what happened and, where anything can be done, what to do. What is done with
 * Nexus itself is `advice`, which edges put behind the message in their own words.
 */
export class NexusError extends Error implements Notice {
  override readonly name = 'NexusError';
  readonly advice: readonly Advice[];

  constructor(
    readonly code: ErrorCode,
    message: string,
    readonly details: ErrorDetails = {},
    { advice = [], ...options }: ErrorExtras = {},
  ) {
    super(message, options);
    this.advice = 'key' in advice ? [advice] : advice;
  }

  /** The same error with the action that failed put in front: `create node web-1: ...`. */
  during(action: string): NexusError {
    return this.saying(`${action}: ${this.message}`);
  }

  /** The same error, with its advice, under another message. */
  saying(message: string): NexusError {
    return new NexusError(this.code, message, this.details, { cause: this, advice: this.advice });
  }
}

interface ErrorExtras {
  readonly cause?: unknown;
  readonly advice?: Advice | readonly Advice[];
}

/** Any thrown value as a NexusError; what is not one already becomes `internal` (or what its errno says). */
export function toNexusError(caught: unknown): NexusError {
  const thrown = firstOf(caught);
  if (thrown instanceof NexusError) return thrown;
  if (thrown instanceof Error) {
    const errno = errnoOf(thrown) ?? '';
    const message = thrown.message.replace(/^Unknown system error -\d+: Unknown system error -\d+/, errno);
    return new NexusError(CODE_OF_ERRNO[errno] ?? 'internal', message, {}, { cause: thrown });
  }
  return new NexusError('internal', String(thrown));
}

/** Numbers of the kernel on Linux; libuv has no names for these, so that Node calls them "Unknown system error -74". */
const NAMELESS: Readonly<Record<number, string>> = { 74: 'EBADMSG', 116: 'ESTALE', 117: 'EUCLEAN', 122: 'EDQUOT' };

/** The name of the kernel's error that a failed call had; undefined: it is none of the kernel's. Causes are not looked at. */
export function errnoOf(thrown: unknown): string | undefined {
  if (!(thrown instanceof Error)) return undefined;
  const { code, errno } = thrown as NodeJS.ErrnoException;
  return (errno === undefined ? undefined : NAMELESS[-errno]) ?? (typeof code === 'string' ? code : undefined);
}

/**
 * The failure that came first. Where cleaning up after it fails as well, `await using` wraps both, and the message of
 * the whole says nothing about either.
 */
export function firstOf(thrown: unknown): unknown {
  let first = thrown;
  while (first instanceof Error) {
    if (first.name === 'SuppressedError' && 'suppressed' in first) first = first.suppressed;
    else if (first instanceof AggregateError && first.errors.length > 0) first = first.errors[0] as unknown;
    else break;
  }
  return first;
}

const CODE_OF_ERRNO: Readonly<Record<string, ErrorCode>> = {
  ENOENT: 'not_found',
  EACCES: 'permission_denied',
  EPERM: 'permission_denied',
  ENOSPC: 'resource_exhausted',
  EDQUOT: 'resource_exhausted',
  ECONNREFUSED: 'unavailable',
  ECONNRESET: 'unavailable',
  EPIPE: 'unavailable',
  ETIMEDOUT: 'deadline_exceeded',
  ABORT_ERR: 'cancelled',
};

/**
 * Leases of readers. A lease keeps content that is replaced or removed meanwhile, for as long as its reader asks for
 * chunks. Leases live in memory: a restart of the controller ends them, and with them reads of replaced content.
 *
 * Content is removed in a transaction that claims it first; claimed content can't be pinned until the transaction has
 * ended, so that no lease is ever given for content that is about to vanish.
 */
import type { Clock } from '../../shared/async/clock.js';
import { NexusError } from '../../shared/errors.js';
import { newLeaseId, type FileId, type LeaseId } from '../../shared/ids.js';
import { CHUNK_TOKEN_TTL_MS } from '../../shared/limits.js';

/** After the last page of chunks a reader's tokens are valid for this long, and no further call renews the lease. */
const LEASE_MS = CHUNK_TOKEN_TTL_MS;
const MAX_LEASES = 10_000;
const MAX_LEASES_PER_USER = 500;

interface Lease {
  readonly file: FileId;
  readonly user: string;
  expiresAt: number;
}

export class Pins {
  readonly #leases = new Map<LeaseId, Lease>();
  readonly #claimed = new Set<FileId>();

  constructor(private readonly clock: Pick<Clock, 'monotonic'>) {}

  /** Undefined: the file is being removed. Code: resource_exhausted. */
  pin(file: FileId, user: string): LeaseId | undefined {
    if (this.#claimed.has(file)) return undefined;
    this.#forgetExpired();
    const own = [...this.#leases.values()].filter((lease) => lease.user === user).length;
    if (this.#leases.size >= MAX_LEASES || own >= MAX_LEASES_PER_USER) {
      throw new NexusError(
        'resource_exhausted',
        `too many downloads at once (${own} of yours); end some, or try later`,
      );
    }
    const id = newLeaseId();
    this.#leases.set(id, { file, user, expiresAt: this.clock.monotonic() + LEASE_MS });
    return id;
  }

  /** Returns the file of a lease and extends the lease. Code: not_found. */
  use(id: LeaseId, user: string | undefined): FileId {
    const lease = this.#leases.get(id);
    const now = this.clock.monotonic();
    if (lease === undefined || lease.expiresAt <= now || (user !== undefined && lease.user !== user)) {
      throw new NexusError('not_found', 'the download has expired; begin it again');
    }
    lease.expiresAt = now + LEASE_MS;
    return lease.file;
  }

  /** Ends a lease; does nothing if it has ended or is another user's. */
  unpin(id: LeaseId, user: string): void {
    if (this.#leases.get(id)?.user === user) this.#leases.delete(id);
  }

  /** Runs a transaction that removes content. Its claims are released when it has ended, even if it failed. */
  async during<Result>(transaction: (claim: (file: FileId) => boolean) => Promise<Result>): Promise<Result> {
    const claimed: FileId[] = [];
    try {
      return await transaction((file) => {
        if (this.#isPinned(file)) return false;
        this.#claimed.add(file);
        claimed.push(file);
        return true;
      });
    } finally {
      for (const file of claimed) this.#claimed.delete(file);
    }
  }

  #isPinned(file: FileId): boolean {
    const now = this.clock.monotonic();
    return [...this.#leases.values()].some((lease) => lease.file === file && lease.expiresAt > now);
  }

  #forgetExpired(): void {
    const now = this.clock.monotonic();
    for (const [id, lease] of this.#leases) if (lease.expiresAt <= now) this.#leases.delete(id);
  }
}

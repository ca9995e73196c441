/**
 * Distributes cluster events to all streams of one user from one subscription to the controller. Users do not share
 * one, as the controller decides what each may see. While the controller is away a feed waits, then resumes where it
 * was.
 */
import { onAbort } from '../../shared/async/wait.js';
import { systemClock } from '../../shared/async/clock.js';
import { toNexusError } from '../../shared/errors.js';
import type { Event } from '../../shared/gen/nexus/v1/cluster.js';
import type { Controller, Session } from './controller.js';

export const RETRY_MS = 1000;
/** Most events that may queue while a new reader still receives earlier ones. */
const MAX_PENDING = 1000;

export interface Reader {
  readonly token: string;
  readonly address: string;
  /** Called in order, each event once. */
  tell(event: Event): void;
  /** No more events follow: the reader's token is no longer valid, or it could not keep up. */
  end(why: string): void;
}

export class EventFeeds {
  /** Feeds by user and role, for users that have a stream. */
  readonly #feeds = new Map<string, Feed>();

  constructor(private readonly controller: Pick<Controller, 'session'>) {}

  /** Number of open feeds; each has one subscription. */
  get size(): number {
    return this.#feeds.size;
  }

  /** Passes the reader the events after `from`, then new ones, until `signal` is aborted. */
  async follow(user: string, reader: Reader, session: Session, from: bigint, signal: AbortSignal): Promise<void> {
    let last = from;
    const tell = (event: Event): void => {
      if (event.id <= last || signal.aborted) return;
      last = event.id;
      reader.tell(event);
    };
    const catchUp = async (): Promise<void> => {
      const request = { follow: false, afterId: last };
      for await (const { event } of session.messages(session.cluster, session.cluster.watchEvents, request))
        if (event !== undefined) tell(event);
    };
    await catchUp();
    if (signal.aborted) return;
    const pending: Event[] = [];
    let isCaughtUp = false;
    const member: Reader = {
      token: reader.token,
      address: reader.address,
      end: (why) => {
        reader.end(why);
      },
      tell: (event) => {
        if (isCaughtUp) tell(event);
        else if (pending.push(event) > MAX_PENDING)
          reader.end('the events were read too slowly; connect again with Last-Event-ID');
      },
    };
    const { feed, isNew } = this.#join(user, member, last);
    onAbort(signal, () => {
      if (feed.leave(member) && this.#feeds.get(user) === feed) this.#feeds.delete(user);
    });
    // Fetches events that a running feed delivered between the first fetch and the joining.
    if (!isNew) await catchUp();
    for (const event of pending) tell(event);
    isCaughtUp = true;
  }

  #join(user: string, member: Reader, last: bigint): { readonly feed: Feed; readonly isNew: boolean } {
    const known = this.#feeds.get(user);
    if (known?.isOpen === true) {
      known.join(member);
      return { feed: known, isNew: false };
    }
    const feed = new Feed(this.controller, last);
    this.#feeds.set(user, feed);
    feed.join(member);
    void feed.run();
    return { feed, isNew: true };
  }
}

class Feed {
  readonly #members = new Set<Reader>();
  readonly #end = new AbortController();

  constructor(
    private readonly controller: Pick<Controller, 'session'>,
    private last: bigint,
  ) {}

  get isOpen(): boolean {
    return !this.#end.signal.aborted;
  }

  join(member: Reader): void {
    this.#members.add(member);
  }

  /** Returns whether no member is left. */
  leave(member: Reader): boolean {
    this.#members.delete(member);
    if (this.#members.size === 0) this.#end.abort();
    return this.#members.size === 0;
  }

  async run(): Promise<void> {
    // A function, because its answer changes while the feed waits.
    const isOpen = (): boolean => this.isOpen;
    while (isOpen()) {
      // The latest to join has the token that lasts longest.
      const speaker = [...this.#members].at(-1);
      if (speaker === undefined) break;
      await this.#follow(speaker);
      if (isOpen()) await systemClock.sleep(RETRY_MS);
    }
  }

  async #follow(speaker: Reader): Promise<void> {
    const { token, address } = speaker;
    const session = this.controller.session({ token, address, requestId: 'events', signal: this.#end.signal });
    try {
      const request = { follow: true, afterId: this.last };
      for await (const { event } of session.messages(session.cluster, session.cluster.watchEvents, request)) {
        if (event === undefined) continue;
        this.last = event.id;
        for (const member of [...this.#members]) member.tell(event);
      }
    } catch (error) {
      if (toNexusError(error).code === 'unauthenticated') speaker.end('log in again');
    }
  }
}

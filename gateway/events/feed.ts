/**
 * What happens in the cluster, for all of one user's streams by one subscription to the controller. Users do not share
 * one: what each may see the controller decides. While the controller is away a feed waits, and goes on where it was.
 */
import { toNexusError } from '../../shared/errors.js';
import type { Event } from '../../shared/gen/nexus/v1/cluster.js';
import type { Controller, Session } from '../controller.js';

export const RETRY_MS = 1000;
/** Events that come while a new reader still gets what was before. */
const MAX_PENDING = 1000;

export interface Reader {
  readonly token: string;
  readonly address: string;
  /** Called in order, each event once. */
  tell(event: Event): void;
  /** Nothing more comes: its token is not good any more, or it could not follow. */
  end(why: string): void;
}

export class EventFeeds {
  /** By user and role: of users that have a stream. */
  readonly #feeds = new Map<string, Feed>();

  constructor(private readonly controller: Pick<Controller, 'session'>) {}

  /** Feeds that are open: each has one subscription. */
  get size(): number {
    return this.#feeds.size;
  }

  /** Tells the reader what came after `from`, and what comes, until `signal` is aborted. */
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
        else if (pending.push(event) > MAX_PENDING) reader.end('too much happens; come again with Last-Event-ID');
      },
    };
    const { feed, isNew } = this.#join(user, member, last);
    signal.addEventListener(
      'abort',
      () => {
        if (feed.leave(member) && this.#feeds.get(user) === feed) this.#feeds.delete(user);
      },
      { once: true },
    );
    // What a running feed told between the first look and the joining is looked up again.
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

  /** Whether nobody is left. */
  leave(member: Reader): boolean {
    this.#members.delete(member);
    if (this.#members.size === 0) this.#end.abort();
    return this.#members.size === 0;
  }

  async run(): Promise<void> {
    // A function, because its answer changes while the feed waits.
    const isOpen = (): boolean => this.isOpen;
    while (isOpen()) {
      // The latest to come has the token that lasts longest.
      const speaker = [...this.#members].at(-1);
      if (speaker === undefined) break;
      await this.#follow(speaker);
      if (isOpen()) await new Promise((resolve) => setTimeout(resolve, RETRY_MS));
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

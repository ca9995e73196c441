/** The cluster's events, in order: kept in the store (bounded there) and passed to listeners. */
import type { Message, Words } from '../../shared/advice/advice.js';
import type { Clock } from '../../shared/async/clock.js';
import type { Logger } from '../../shared/log.js';
import { plainText } from '../../shared/plain-text.js';
import type { EventRecord, EventStore } from '../store/port/store.js';
import type { EventType } from './types.js';

/** Enough for names of files and users and messages of runc and the kernel, too little for pages. */
const MAX_MESSAGE_CHARACTERS = 2000;

export class EventLog {
  readonly #listeners = new Set<(event: EventRecord) => void>();

  constructor(
    private readonly store: EventStore,
    private readonly clock: Clock,
    private readonly log: Logger,
    /** Renders what is written down: events, and the reasons of nodes' states. */
    readonly words: Words,
  ) {}

  /**
   * `subject` is the name of the thing concerned, `owner` the user who may see the event besides administrators. Never
   * fails: a lost event must not fail what it reports.
   */
  async append(type: EventType, subject: string, said: Message, owner = ''): Promise<void> {
    const message = plainText(this.words(said), MAX_MESSAGE_CHARACTERS);
    this.log.info({ event: type, subject }, message);
    try {
      const event = await this.store.append({ at: this.clock.now(), type, subject, message, owner });
      for (const listener of this.#listeners) listener(event);
    } catch (error) {
      this.log.error({ err: error, event: type }, 'an event could not be recorded');
    }
  }

  past(afterId: number): Promise<readonly EventRecord[]> {
    return this.store.list(afterId);
  }

  listen(listener: (event: EventRecord) => void): () => void {
    this.#listeners.add(listener);
    return () => {
      this.#listeners.delete(listener);
    };
  }
}

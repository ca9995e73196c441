/** Reads events from a position on, and follows new ones as long as the reader keeps up. */
import { Bell } from '../../shared/async/bell.js';
import { NexusError } from '../../shared/errors.js';
import type { EventRecord } from '../store/port/store.js';
import type { EventLog } from './log.js';

/** Limits the new events that wait for a slow reader; beyond it reading ends and the reader has to come again. */
const MAX_WAITING = 1000;

export interface EventReader {
  readonly user: string;
  readonly isAdministrator: boolean;
}

export interface WantedEvents {
  /** Excludes events up to this id. */
  readonly afterId: number;
  /** Number of past events, counted from the newest; 0 or undefined: all. */
  readonly last: number | undefined;
  /** Continue with new events until `signal` is aborted. */
  readonly follow: boolean;
  readonly reader: EventReader;
  readonly signal: AbortSignal;
}

/** Awaits `send` for each event. Code: resource_exhausted (the reader is too slow). */
export async function readEvents(
  log: Pick<EventLog, 'listen' | 'past'>,
  { afterId, last: most = 0, follow, reader, signal }: WantedEvents,
  send: (event: EventRecord) => Promise<void>,
): Promise<void> {
  const waiting: EventRecord[] = [];
  let isTooSlow = false;
  const news = new Bell();
  const stop = log.listen((event) => {
    if (!mayBeSeen(event, reader)) return;
    if (waiting.length < MAX_WAITING) waiting.push(event);
    else isTooSlow = true;
    news.ring();
  });
  const hasFallenBehind = (): boolean => isTooSlow;
  try {
    const past = await log.past(afterId);
    let last = past.at(-1)?.id ?? afterId;
    const visible = past.filter((event) => mayBeSeen(event, reader));
    for (const event of most === 0 ? visible : visible.slice(-most)) await send(event);
    while (follow && !signal.aborted) {
      if (hasFallenBehind()) throw tooSlow(last);
      const event = waiting.shift();
      if (event === undefined) await news.wait({ signal });
      else if (event.id > last) {
        last = event.id;
        await send(event);
      }
    }
  } finally {
    stop();
  }
}

const tooSlow = (last: number): NexusError =>
  new NexusError(
    'resource_exhausted',
    `the events were read too slowly; connect again and continue after event ${last}`,
    {
      after_id: last,
    },
  );

/**
 * Events of nodes are visible to everybody, those of files to their owners, and those of the cluster's upkeep to
 * administrators.
 */
const mayBeSeen = ({ type, owner }: EventRecord, { user, isAdministrator }: EventReader): boolean =>
  isAdministrator || type.startsWith('node.') || (owner !== '' && owner === user);

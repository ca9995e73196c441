/** Reading events: who sees which, where reading begins, and what becomes of a slow reader. */
import { expect } from 'chai';
import { readEvents, type EventReader } from '../../controller/events/read.js';
import { NexusError } from '../../shared/errors.js';
import type { EventRecord } from '../../controller/store/port/store.js';

const ADMINISTRATOR: EventReader = { user: 'admin', isAdministrator: true };
const event = (id: number, type = 'node.running', owner = ''): EventRecord => ({
  id,
  at: 0,
  type,
  subject: 'n',
  message: '',
  owner,
});

class Log {
  readonly listeners = new Set<(event: EventRecord) => void>();
  constructor(readonly stored: readonly EventRecord[]) {}
  listen(listener: (event: EventRecord) => void): () => void {
    this.listeners.add(listener);
    return () => this.listeners.delete(listener);
  }
  past(afterId: number): Promise<readonly EventRecord[]> {
    return Promise.resolve(this.stored.filter(({ id }) => id > afterId));
  }
  append(added: EventRecord): void {
    for (const listener of this.listeners) listener(added);
  }
}

async function past(log: Log, reader: EventReader, afterId = 0, last = 0): Promise<number[]> {
  const seen: number[] = [];
  const { signal } = new AbortController();
  await readEvents(log, { afterId, last, follow: false, reader, signal }, ({ id }) => {
    seen.push(id);
    return Promise.resolve();
  });
  return seen;
}

describe('reading events', () => {
  const log = new Log([event(1), event(2, 'file.stored', 'ada'), event(3, 'repair.done'), event(4)]);

  it('shows a user events of nodes and of their own files, an administrator all', async () => {
    expect(await past(log, ADMINISTRATOR)).to.deep.equal([1, 2, 3, 4]);
    expect(await past(log, { user: 'ada', isAdministrator: false })).to.deep.equal([1, 2, 4]);
    expect(await past(log, { user: 'bob', isAdministrator: false })).to.deep.equal([1, 4]);
  });

  it('begins after an event, or with the last ones that the reader may see', async () => {
    expect(await past(log, ADMINISTRATOR, 2)).to.deep.equal([3, 4]);
    expect(await past(log, { user: 'bob', isAdministrator: false }, 0, 2)).to.deep.equal([1, 4]);
  });

  it('follows without a gap and without repeating, and stops listening when the reader leaves', async () => {
    const followed = new Log([event(1)]);
    const leave = new AbortController();
    const seen: number[] = [];
    await readEvents(
      followed,
      { afterId: 0, last: 0, follow: true, reader: ADMINISTRATOR, signal: leave.signal },
      ({ id }) => {
        seen.push(id);
        if (id === 1) for (const next of [1, 2, 3]) followed.append(event(next));
        if (id === 3) leave.abort();
        return Promise.resolve();
      },
    );
    expect(seen).to.deep.equal([1, 2, 3]);
    expect(followed.listeners.size).to.equal(0);
  });

  it('ends for a reader that is too slow, and says where to go on', async () => {
    const followed = new Log([event(1)]);
    const { signal } = new AbortController();
    const reading = readEvents(
      followed,
      { afterId: 0, last: 0, follow: true, reader: ADMINISTRATOR, signal },
      ({ id }) => {
        if (id === 1) for (let next = 2; next < 2000; next += 1) followed.append(event(next));
        return Promise.resolve();
      },
    );
    const failure = await reading.then(
      () => undefined,
      (error: unknown) => error,
    );
    expect(failure).to.be.instanceOf(NexusError);
    expect((failure as NexusError).code).to.equal('resource_exhausted');
    expect((failure as NexusError).details).to.deep.equal({ after_id: 1 });
    expect(followed.listeners.size).to.equal(0);
  });
});

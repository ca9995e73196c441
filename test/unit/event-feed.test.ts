/** Event streams of one user share a subscription, and each gets every event once, in order. */
import { expect } from 'chai';
import type { ServerWritableStream } from '@grpc/grpc-js';
import { Controller } from '../../gateway/controller/controller.js';
import { EventFeeds, type Reader } from '../../gateway/controller/event-feeds.js';
import type { Event, WatchEventsRequest, WatchEventsResponse } from '../../shared/gen/nexus/v1/cluster.js';
import { FakeController } from '../support/fake-controller.js';

type Call = ServerWritableStream<WatchEventsRequest, WatchEventsResponse>;

const eventOf = (id: number): Event => ({ id: BigInt(id), at: '', type: 'node.running', subject: 'n', message: '' });

describe('event feeds', () => {
  let fake: FakeController;
  let controller: Controller;
  let feeds: EventFeeds;
  let happened: number;
  const following = new Set<Call>();
  const opened: Call[] = [];

  const happen = (): void => {
    happened += 1;
    for (const call of following) call.write({ event: eventOf(happened) });
  };

  beforeEach(async () => {
    happened = 3;
    following.clear();
    opened.length = 0;
    fake = await FakeController.start({
      watchEvents: (call: Call) => {
        opened.push(call);
        for (let id = Number(call.request.afterId) + 1; id <= happened; id += 1) call.write({ event: eventOf(id) });
        if (!call.request.follow) {
          call.end();
          return;
        }
        following.add(call);
        call.on('cancelled', () => following.delete(call));
      },
    } as never);
    controller = new Controller(fake.socket);
    feeds = new EventFeeds(controller);
  });
  afterEach(async () => {
    controller.close();
    await fake[Symbol.asyncDispose]();
  });

  const until = async (holds: () => boolean): Promise<void> => {
    for (const end = performance.now() + 10_000; !holds() && performance.now() < end;)
      await new Promise((resolve) => setTimeout(resolve, 5));
    expect(holds(), 'within ten seconds').to.equal(true);
  };
  const open = async (user: string, from = 0): Promise<{ ids: number[]; leave: () => void }> => {
    const ids: number[] = [];
    const leaving = new AbortController();
    const scope = { token: 't', address: '', requestId: 'r', signal: leaving.signal };
    const reader: Reader = {
      ...scope,
      tell: ({ id }) => {
        ids.push(Number(id));
      },
      end: () => {
        leaving.abort();
      },
    };
    await feeds.follow(user, reader, controller.session(scope), BigInt(from), leaving.signal);
    return {
      ids,
      leave: () => {
        leaving.abort();
      },
    };
  };

  it('have one subscription for all streams of a user, which ends with the last', async () => {
    const first = await open('alice user');
    await until(() => following.size === 1);
    happen();
    const others = await Promise.all([open('alice user', 2), open('alice user'), open('alice user')]);
    happen();
    const all = [first, ...others];
    await until(() => all.every(({ ids }) => ids.at(-1) === 5));
    expect(all.map(({ ids }) => ids.join())).to.deep.equal(['1,2,3,4,5', '3,4,5', '1,2,3,4,5', '1,2,3,4,5']);
    expect(following.size).to.equal(1);
    const bob = await open('bob user');
    await until(() => following.size === 2);
    for (const { leave } of [...all, bob]) leave();
    await until(() => following.size === 0);
    expect(feeds.size).to.equal(0);
  });

  it('miss nothing and repeat nothing when the controller was away', async () => {
    const reader = await open('alice user');
    await until(() => following.size === 1);
    const before = opened.length;
    await fake.stop();
    happened += 2;
    await fake.listen();
    await until(() => opened.length > before);
    happen();
    await until(() => reader.ids.at(-1) === 6);
    expect(reader.ids).to.deep.equal([1, 2, 3, 4, 5, 6]);
    reader.leave();
  });
});

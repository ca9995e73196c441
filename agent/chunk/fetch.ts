/**
 * Copies a chunk from another agent to this one: repair, drain and rebalance. This side pulls, so that it receives no
 * more than it can write. The content is checked like any write; if a source fails, the next one is tried.
 */
import type { Clock } from '../../shared/async/clock.js';
import { NexusError } from '../../shared/errors.js';
import type { ChunkId } from '../../shared/ids.js';
import { chunkAt } from '../../shared/peer/address.js';
import { PeerExchange } from '../../shared/peer/exchange.js';
import { consumeBody } from './body.js';
import type { ChunkFacts } from './layout.js';
import { Pace } from './pace.js';
import type { ChunkStore } from './store.js';
import type { Transfers } from './transfers.js';
import type { ExpectedChunk } from './write.js';
import { isOfVolume, toAgentError } from '../volume/errors.js';

export interface FetchSource {
  readonly nodeId: string;
  /** host:port of its agent. */
  readonly address: string;
  readonly token: string;
}

export interface FetchOrder {
  readonly chunk: ChunkId;
  readonly expected: ExpectedChunk;
  readonly sources: readonly FetchSource[];
  /** Bytes a second; 0: no limit. */
  readonly rate: number;
}

export interface FetchContext {
  readonly store: ChunkStore;
  readonly transfers: Transfers;
  readonly clock: Clock;
}

export interface Fetched {
  readonly facts: ChunkFacts;
  /** Sources whose bytes differed from the expected ones. */
  readonly corruptNodeIds: readonly string[];
}

/** Time for a source to answer the request; then the next source is tried. */
const ANSWER_TIMEOUT_MS = 5000;
/** Longest silence of a source: a node that was killed may never close its connection. */
const STALL_TIMEOUT_MS = 5000;

/** Codes: those of the store, or those of the last source; the details have `corrupt_node_ids` as the result has. */
export async function fetchChunk(context: FetchContext, order: FetchOrder): Promise<Fetched> {
  using _transfer = context.transfers.begin();
  const corruptNodeIds: string[] = [];
  let last = new NexusError('invalid_argument', `chunk ${order.chunk}: no source was named`);
  for (const source of order.sources) {
    try {
      return { facts: await fetchFrom(context, order, source), corruptNodeIds };
    } catch (thrown) {
      // Only this node's own volume fails with an errno: failures of a source arrive as codes.
      if (isOfVolume(thrown)) throw toAgentError(thrown);
      last = toAgentError(thrown).during(`from node ${source.nodeId}`);
      // A full volume or a second writer is not the source's fault: every other source would fail as well.
      if (last.code === 'resource_exhausted' || last.code === 'aborted') break;
      if (last.code === 'data_loss') corruptNodeIds.push(source.nodeId);
    }
  }
  throw new NexusError(last.code, last.message, { corrupt_node_ids: corruptNodeIds }, { cause: last });
}

async function fetchFrom(context: FetchContext, order: FetchOrder, source: FetchSource): Promise<ChunkFacts> {
  const { chunk, expected } = order;
  using exchange = new PeerExchange(chunkAt(source.address, chunk, source.token), {
    method: 'GET',
    answerMs: ANSWER_TIMEOUT_MS,
    stallMs: STALL_TIMEOUT_MS,
  });
  exchange.end();
  const answer = await exchange.accepted();
  const pace = new Pace(context.clock, order.rate);
  await using write = await context.store.beginWrite(chunk, expected, { revive: true });
  await consumeBody(answer, (piece) => bothOf(write.write(piece), pace.spend(piece.length)), {
    idleTimeoutMs: STALL_TIMEOUT_MS,
    signal: write.superseded,
  });
  return await write.commit();
}

function bothOf(one: Promise<void> | undefined, other: Promise<void> | undefined): Promise<void> | undefined {
  if (one === undefined || other === undefined) return one ?? other;
  return Promise.all([one, other]).then(() => undefined);
}

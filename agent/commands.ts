/** Carries out the controller's commands. Each is answered once it is done; errors travel in the reply. */
import { NexusError } from '../shared/errors.js';
import { isChunkId, type ChunkId, type NodeId } from '../shared/ids.js';
import { AgentCommand, AgentReply } from '../shared/gen/nexus/v1/agent.js';
import type { Clock } from '../shared/async/clock.js';
import { originMessage, originOfMessage } from '../shared/chunk-origin.js';
import type { SigningKey } from '../shared/chunk-token.js';
import { checkChunks } from './chunk/check.js';
import { fetchChunk } from './chunk/fetch.js';
import { receiptOf } from './chunk/put.js';
import type { ChunkStore } from './chunk/store.js';
import type { Transfers } from './chunk/transfers.js';
import type { CommandLog } from './command-log.js';
import type { AgentLog } from './log.js';
import { isOfVolume, toAgentError } from './volume/errors.js';
import type { VolumeHealth } from './volume/health.js';

export interface CommandContext {
  readonly nodeId: NodeId;
  readonly store: ChunkStore;
  readonly transfers: Transfers;
  /** Signs receipts. */
  readonly receiptKey: SigningKey;
  readonly inspect: () => Promise<string>;
  /** Begins to end the agent; returns at once. */
  readonly shutdown: (graceMs: number) => void;
  /** Sets the time between heartbeats. Code: invalid_argument. */
  readonly pace: (intervalMs: number) => void;
  readonly commands: CommandLog;
  readonly clock: Clock;
  readonly health?: Pick<VolumeHealth, 'suspect'>;
  readonly log: AgentLog;
}

/** Ids in one DeleteChunks, and chunks in one answer to ListChunks: an answer stays well below NATS's 1 MiB. */
const MAX_CHUNKS_PER_COMMAND = 1000;
type FetchCommand = NonNullable<AgentCommand['fetchChunk']>;
type VerifyCommand = NonNullable<AgentCommand['verifyChunks']>;

/** Commands at once. The controller waits for answers, so more than this is a defect. */
const MAX_RUNNING = 32;

const NOTHING: AgentReply = AgentReply.fromPartial({});

export class CommandResponder {
  #running = 0;

  constructor(private readonly context: CommandContext) {}

  /** Never rejects. */
  async answer(request: Uint8Array): Promise<Uint8Array> {
    const { clock, commands, log } = this.context;
    const startedAt = clock.monotonic();
    let command = 'malformed';
    let result = 'ok';
    let reply: AgentReply;
    this.#running += 1;
    try {
      if (this.#running > MAX_RUNNING)
        throw new NexusError('unavailable', `${MAX_RUNNING} commands are running on this node already`);
      const decoded = decode(request);
      command = nameOf(decoded);
      reply = { ...NOTHING, ...(await this.#run(decoded)) };
    } catch (thrown) {
      this.context.health?.suspect(thrown);
      const error = toAgentError(thrown);
      log.warn({ command, code: error.code, err: error.message }, 'command failed');
      result = error.code;
      const corrupt = error.details['corrupt_node_ids'];
      const corruptNodeIds = Array.isArray(corrupt) ? [...(corrupt as readonly string[])] : [];
      reply = { ...NOTHING, errorCode: error.code, errorMessage: error.message, corruptNodeIds };
    } finally {
      this.#running -= 1;
    }
    const durationMs = Math.round(clock.monotonic() - startedAt);
    commands.add({ at: new Date(clock.now()).toISOString(), command, result, duration_ms: durationMs });
    return AgentReply.encode(reply).finish();
  }

  async #run(command: AgentCommand): Promise<Partial<AgentReply>> {
    if (command.shutdown !== undefined) {
      this.context.shutdown(command.shutdown.graceMs);
      return { idle: this.context.transfers.active === 0 };
    }
    if (command.deleteChunks !== undefined) return await this.#delete(command.deleteChunks.chunkIds);
    if (command.listChunks !== undefined) return await this.#list(command.listChunks.after, command.listChunks.limit);
    if (command.inspect !== undefined) return { inspection: await this.context.inspect() };
    if (command.fetchChunk !== undefined) return await this.#fetch(command.fetchChunk);
    if (command.pace !== undefined) {
      this.context.pace(command.pace.intervalMs);
      return {};
    }
    if (command.verifyChunks !== undefined) return await this.#verify(command.verifyChunks);
    throw new NexusError(
      'unimplemented',
      'this agent does not know the command; restart the node to bring it up to date',
    );
  }

  /** Returns the ids of the deleted chunks; the controller asks again for the rest. Code: invalid_argument. */
  async #delete(ids: readonly string[]): Promise<Partial<AgentReply>> {
    if (ids.length > MAX_CHUNKS_PER_COMMAND) {
      throw new NexusError('invalid_argument', `at most ${MAX_CHUNKS_PER_COMMAND} chunks can be deleted at once`);
    }
    const { store, health, log } = this.context;
    const deletedChunkIds: string[] = [];
    let failed: unknown;
    for (const id of ids) {
      const chunk = checkedId(id);
      try {
        await store.delete(chunk);
        deletedChunkIds.push(id);
      } catch (error) {
        failed ??= error;
        health?.suspect(error);
        // The remaining deletions would fail for the same reason.
        if (isOfVolume(error)) break;
      }
    }
    // One line for all: the controller repeats the request until all are deleted.
    const { length } = deletedChunkIds;
    if (failed !== undefined) log.warn({ asked: ids.length, deleted: length, err: failed }, 'not all could be deleted');
    return { deletedChunkIds };
  }

  async #fetch({ chunkId, size, md5, sources, rate, origin }: FetchCommand): Promise<Partial<AgentReply>> {
    const of = origin === undefined ? {} : { of: originOfMessage(origin) };
    const expected = { size: Number(size), md5, ...of };
    const order = { chunk: checkedId(chunkId), expected, sources, rate: Number(rate) };
    const { facts, corruptNodeIds } = await fetchChunk(this.context, order);
    return { receipt: receiptOf(this.context, order.chunk, facts), corruptNodeIds: [...corruptNodeIds] };
  }

  async #verify({ chunks, rate }: VerifyCommand): Promise<Partial<AgentReply>> {
    if (chunks.length > MAX_CHUNKS_PER_COMMAND) {
      throw new NexusError('invalid_argument', `at most ${MAX_CHUNKS_PER_COMMAND} chunks can be checked at once`);
    }
    const { store, clock } = this.context;
    const expected = chunks.map(({ chunkId, size, md5 }) => ({
      chunk: checkedId(chunkId),
      expected: { size: Number(size), md5 },
    }));
    const findings = await checkChunks(store, clock, { chunks: expected, rate: Number(rate) });
    return { findings: findings.map(({ chunk, state, found }) => ({ chunkId: chunk, state, found })) };
  }

  async #list(after: string, limit: number): Promise<Partial<AgentReply>> {
    const count = limit === 0 ? MAX_CHUNKS_PER_COMMAND : Math.min(limit, MAX_CHUNKS_PER_COMMAND);
    const listed = await this.context.store.list(after, count);
    return {
      chunks: listed.map(({ chunk, size, md5, of, damage = '' }) => ({
        chunkId: chunk,
        size: BigInt(size),
        md5,
        origin: of === undefined ? undefined : originMessage(of),
        damage,
      })),
    };
  }
}

function checkedId(id: string): ChunkId {
  if (isChunkId(id)) return id;
  throw new NexusError('invalid_argument', `not a chunk id: ${id}`);
}
function decode(request: Uint8Array): AgentCommand {
  try {
    return AgentCommand.decode(request);
  } catch (error) {
    throw new NexusError('invalid_argument', 'the command is malformed', {}, { cause: error });
  }
}

function nameOf(command: AgentCommand): string {
  const set = Object.entries(command).find(([, value]) => value !== undefined);
  return set?.[0] ?? 'unknown';
}

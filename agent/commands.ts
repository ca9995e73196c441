/** Commands of the controller, one at a time in the order they came; each is answered once. */
import { NexusError, toNexusError } from '../shared/errors.js';
import { AgentReply, type AgentCommand } from '../shared/gen/nexus/v1/agent.js';
import { isChunkId, type ChunkId } from '../shared/ids.js';
import type { ChunkStore } from './chunk/store.js';
import type { AgentLog } from './log.js';
import type { AgentStatus } from './status.js';

export interface CommandContext {
  readonly store: ChunkStore;
  readonly status: AgentStatus;
  readonly log: AgentLog;
  /** Begins the orderly end; the reply goes out first. */
  readonly shutdown: (graceMs: number) => void;
}

/** Bounds one command's work and reply. */
const MAX_CHUNKS_PER_COMMAND = 1000;

/** Never rejects: what goes wrong is in the reply. */
export async function answerCommand(context: CommandContext, command: AgentCommand): Promise<AgentReply> {
  const name = nameOf(command);
  try {
    const reply = await carryOut(context, command);
    context.status.noteCommand(name, '');
    return AgentReply.fromPartial(reply);
  } catch (thrown) {
    const error = toNexusError(thrown);
    context.log.warn({ command: name, code: error.code, err: error.message }, 'command failed');
    context.status.noteCommand(name, error.code);
    return AgentReply.fromPartial({ errorCode: error.code, errorMessage: error.message });
  }
}

const nameOf = (command: AgentCommand): string =>
  Object.entries(command).find(([, value]) => value !== undefined)?.[0] ?? 'unknown';

async function carryOut(context: CommandContext, command: AgentCommand): Promise<Partial<AgentReply>> {
  if (command.shutdown !== undefined) {
    const { graceMs } = command.shutdown;
    context.shutdown(graceMs);
    return {};
  }
  if (command.deleteChunks !== undefined) return { deletedChunkIds: await deleteAll(context, command.deleteChunks.chunkIds) };
  if (command.listChunks !== undefined) {
    const limit = Math.min(command.listChunks.limit, MAX_CHUNKS_PER_COMMAND);
    const found = await context.store.list(command.listChunks.after, limit);
    return { chunks: found.map(({ chunk, size, md5 }) => ({ chunkId: chunk, size: BigInt(size), md5 })) };
  }
  if (command.inspect !== undefined) return { inspection: await context.status.inspection() };
  throw new NexusError('unimplemented', 'this agent does not know the command; restart the node to run the current agent');
}

/** What could not be deleted is left out of the answer, and the controller asks again. */
async function deleteAll(context: CommandContext, ids: readonly string[]): Promise<ChunkId[]> {
  if (ids.length > MAX_CHUNKS_PER_COMMAND) throw new NexusError('invalid_argument', `at most ${MAX_CHUNKS_PER_COMMAND} chunks at a time`);
  const deleted: ChunkId[] = [];
  for (const id of ids) {
    if (!isChunkId(id)) throw new NexusError('invalid_argument', `"${id}" is not a chunk id`);
    try {
      await context.store.delete(id);
      deleted.push(id);
    } catch (error) {
      context.log.error({ chunk: id, err: error }, 'a chunk could not be deleted');
    }
  }
  return deleted;
}

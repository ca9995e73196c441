/**
 * Runs one small process per log: log-writer.c, which opens the files and drops its privileges. It takes 60 KiB of
 * memory, so that each of a hundred nodes can have one. Its input is one of a pair of sockets.
 */
import { constants } from 'node:fs';
import { access, readFile, writeFile } from 'node:fs/promises';
import type { Socket } from 'node:net';
import { type ChildProcess, startChild } from '../../shared/exec.js';
import { deferred, outcome, until } from '../../shared/async/wait.js';
import { NexusError } from '../../shared/errors.js';
import type { UserIds } from '../../shared/host/service-user.js';
import { KIB, MIB } from '../../shared/limits.js';
import { identify, identityIn, isAlive } from '../host/process-identity.js';
import type { ProcessIdentity } from '../hosting/runtime.js';
import type { LogInput, LogPlace, LogWriters } from './port.js';

export interface WriterOptions {
  readonly program: string;
  /** User that the writers run as; undefined: the controller's own. */
  readonly user: UserIds | undefined;
  readonly maxBytes: number;
  /** Number of files kept, including the current one. */
  readonly files: number;
  readonly bytesPerSecond?: number;
  readonly burstBytes?: number;
}

/** Far above the busiest log's average over a day; more is a fault or an attack. */
const BYTES_PER_SECOND = 64 * KIB;
/** Lines that explain a failure come together. */
const BURST_BYTES = MIB;
/**
 * Time from the last byte of the input to the writer's end; it reads its remaining input within a tenth of a second.
 */
const SETTLE_TIMEOUT_MS = 2000;
const POLL_MS = 5;

export class WriterProcesses implements LogWriters {
  private constructor(private readonly options: WriterOptions) {}

  /** Code: failed_precondition. */
  static async open(options: WriterOptions): Promise<WriterProcesses> {
    await access(options.program, constants.X_OK).catch((error: unknown) => {
      const text = `no log writer at ${options.program}; run deploy/bootstrap.sh`;
      throw new NexusError('failed_precondition', text, {}, { cause: error });
    });
    return new WriterProcesses(options);
  }

  async open(place: LogPlace, first: string): Promise<LogInput> {
    await this.settle(place, true);
    // The record marks the log as having a writer from now on.
    await writeFile(place.record, '', { mode: 0o600 });
    const child = startChild(this.options.program, this.#arguments(place.path), {
      // In a session of its own, so that the end of the controller or its terminal does not end it.
      detached: true,
      cwd: '/',
      stdio: ['pipe', 'ignore', 'pipe'],
      env: {},
    });
    const input = child.stdin as Socket;
    // The writer may end before it has read everything; its exit shows why.
    input.on('error', () => undefined);
    try {
      await untilReady(child);
      const identity = identify(child.pid ?? 0);
      if (identity === undefined) throw new NexusError('internal', 'the log writer ended at once');
      await writeFile(place.record, JSON.stringify(identity), { mode: 0o600 });
      if (first !== '') await written(input, first);
      child.unref();
      return { output: input, close: () => input.destroy() };
    } catch (error) {
      input.destroy();
      throw error;
    }
  }

  async settle({ record }: LogPlace, mustEnd = false): Promise<void> {
    const identity = await recorded(record);
    if (identity === undefined || (await hasEnded(identity)) || !mustEnd) return;
    // Another process still holds its input, and must not write to a log that is removed or has a new writer.
    try {
      process.kill(identity.pid, 'SIGKILL');
    } catch {
      // Ended by itself in between.
    }
    await hasEnded(identity);
  }

  #arguments(path: string): string[] {
    const { maxBytes, files, user, bytesPerSecond = BYTES_PER_SECOND, burstBytes = BURST_BYTES } = this.options;
    const ids = user === undefined ? [] : [user.uid, user.gid];
    return [path, ...[maxBytes, files, bytesPerSecond, burstBytes, ...ids].map(String)];
  }
}

/** The writer closes its standard error once it has opened its files. */
async function untilReady(child: ChildProcess): Promise<void> {
  let said = '';
  child.stderr?.on('data', (data: Buffer) => (said += data.toString('utf8')));
  await outcome((resolve, reject) => {
    child.once('error', reject);
    child.stderr?.once('close', resolve);
    return undefined;
  }).catch((error: unknown) => {
    throw new NexusError(
      'internal',
      `the log writer cannot be started: ${(error as Error).message}`,
      {},
      { cause: error },
    );
  });
  if (said !== '') throw new NexusError('failed_precondition', `the log cannot be opened: ${said.trim()}`);
}

async function hasEnded(identity: ProcessIdentity): Promise<boolean> {
  return await until(() => !isAlive(identity), { everyMs: POLL_MS, withinMs: SETTLE_TIMEOUT_MS });
}

const recorded = async (record: string): Promise<ProcessIdentity | undefined> =>
  identityIn(await readFile(record, 'utf8').catch(() => ''));

/** An error shows in the writer's exit. */
function written(input: Socket, text: string): Promise<void> {
  const { promise, resolve } = deferred();
  input.write(text, () => resolve());
  return promise;
}

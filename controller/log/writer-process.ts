/**
 * A small process for each log: log-writer.c, which opens the files and gives its privileges up. It takes 60 KiB of memory,
 * so that a hundred nodes can have one each. Its input is one of a pair of sockets.
 */
import { spawn, type ChildProcess } from 'node:child_process';
import { constants } from 'node:fs';
import { access, readFile, writeFile } from 'node:fs/promises';
import type { Socket } from 'node:net';
import { setTimeout as setTimeoutAsync } from 'node:timers/promises';
import { NexusError } from '../../shared/errors.js';
import type { UserIds } from '../../shared/host/service-user.js';
import { KIB, MIB } from '../../shared/limits.js';
import { identify, identityIn, isAlive } from '../host/process-identity.js';
import type { ProcessIdentity } from '../hosting/runtime.js';
import type { LogInput, LogPlace, LogWriters } from './port.js';

export interface WriterOptions {
  readonly program: string;
  /** Who the writers run as; undefined: the same user as the controller. */
  readonly user: UserIds | undefined;
  readonly maxBytes: number;
  /** Files that are kept, the present one included. */
  readonly files: number;
  readonly bytesPerSecond?: number;
  readonly burstBytes?: number;
}

/** A day of the busiest log is a fraction of it; more is a fault, or somebody's will. */
const BYTES_PER_SECOND = 64 * KIB;
/** Lines that explain a failure come together. */
const BURST_BYTES = MIB;
/** From the last byte of the input to the end; what is read at the most until then takes a tenth of a second. */
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
    // From now on this log is a writer's.
    await writeFile(place.record, '', { mode: 0o600 });
    const child = spawn(this.options.program, this.#arguments(place.path), {
      // In a session of its own: what ends the controller's terminal, or the controller, leaves it alone.
      detached: true,
      cwd: '/',
      stdio: ['pipe', 'ignore', 'pipe'],
      env: {},
    });
    const input = child.stdin as Socket;
    // It may end before it has taken everything; its end says why.
    input.on('error', () => undefined);
    try {
      await untilReady(child);
      const identity = identify(child.pid ?? 0);
      if (identity === undefined) throw new NexusError('internal', 'the log writer ended at once');
      await writeFile(place.record, JSON.stringify(identity), { mode: 0o600 });
      if (first !== '') await new Promise((resolve) => input.write(first, resolve));
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
    // Somebody still holds its input: whoever that is must not write to a log that is another's, or gone.
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

/** It closes its standard error when it has opened its files. */
async function untilReady(child: ChildProcess): Promise<void> {
  let said = '';
  await new Promise<void>((resolve, reject) => {
    child.once('error', reject);
    child.stderr?.on('data', (data: Buffer) => (said += data.toString('utf8')));
    child.stderr?.once('close', resolve);
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
  const deadline = performance.now() + SETTLE_TIMEOUT_MS;
  while (isAlive(identity)) {
    if (performance.now() > deadline) return false;
    await setTimeoutAsync(POLL_MS);
  }
  return true;
}

const recorded = async (record: string): Promise<ProcessIdentity | undefined> =>
  identityIn(await readFile(record, 'utf8').catch(() => ''));

/**
 * A child process over pipes as an ExecHandle, with back-pressure both ways. The handle ends with the process:
 * processes that it left running may hold the pipes forever, and only data already in the pipes still is its output.
 */
import { setImmediate } from 'node:timers/promises';
import { Bell } from '../../shared/async/bell.js';
import { deferred, outcome } from '../../shared/async/wait.js';
import { type ChildProcess, exitCodeOf } from '../../shared/exec.js';
import { MIB } from '../../shared/limits.js';
import type { ExecHandle } from './runtime.js';
import type { StartFailure } from './start-failure.js';

/** More than the kernel buffers for a reader; beyond it some other process is still writing. */
const MOST_BYTES_AFTER_END = 2 * MIB;

/** `atEnd` is called once, when the process and its output have ended; it may find that the command never began. */
export function pipedHandle(
  child: ChildProcess,
  atEnd: (exitCode: number) => Promise<StartFailure | undefined>,
  control: Pick<ExecHandle, 'kill' | 'signal'>,
): ExecHandle {
  // The command may close its input whenever it likes.
  child.stdin?.on('error', () => undefined);
  const output = new PipedOutput(child);
  return {
    ...control,
    exited: endOf(child, output).then(async (code) => {
      const failure = await atEnd(code);
      if (failure !== undefined) await output.say(`${failure.words}\n`);
      return failure?.exitCode ?? code;
    }),
    onOutput: (listener) => {
      output.pipeTo(listener);
    },
    write: (data) => writeTo(child, data),
    endInput: () => {
      child.stdin?.end();
    },
    resize: () => undefined,
  };
}

function endOf(child: ChildProcess, output: PipedOutput): Promise<number> {
  return outcome((resolve) => {
    child.once('error', () => {
      resolve(127);
    });
    child.once('close', (code, signal) => {
      resolve(exitCodeOf(code, signal));
    });
    child.once('exit', (code, signal) => {
      void output.drained().then(() => {
        for (const stream of [child.stdin, child.stdout, child.stderr]) stream?.destroy();
        resolve(exitCodeOf(code, signal));
      });
    });
    return undefined;
  });
}

type OutputListener = Parameters<ExecHandle['onOutput']>[0];

class PipedOutput {
  #bytes = 0;
  /** Pieces that the listener has not taken yet; the pipes they came from are paused. */
  #pending = 0;
  readonly #taken = new Bell();
  readonly #listened = deferred<OutputListener>();

  constructor(private readonly child: ChildProcess) {}

  pipeTo(listener: OutputListener): void {
    this.#listened.resolve(listener);
    for (const name of ['stdout', 'stderr'] as const) {
      const stream = this.child[name];
      stream?.on('data', (data: Buffer) => {
        stream.pause();
        this.#bytes += data.length;
        this.#pending += 1;
        // If the listener fails, its side may be gone: drop the remaining output, so that the command can end.
        const resume = (): void => {
          this.#pending -= 1;
          stream.resume();
          this.#taken.ring();
        };
        listener(name, data).then(resume, resume);
      });
    }
  }

  /** Writes to standard error, after all output of the command. */
  async say(text: string): Promise<void> {
    const listener = await this.#listened.promise;
    // The reader may be gone already.
    await listener('stderr', Buffer.from(text)).catch(() => undefined);
  }

  /**
   * Resolves once the pipes are empty: every pipe with data is read between two turns of the event loop. Gives up when
   * other processes keep writing.
   */
  async drained(): Promise<void> {
    await this.#listened.promise;
    const before = this.#bytes;
    for (let seen = -1; seen !== this.#bytes;) {
      while (this.#pending > 0) await this.#taken.wait();
      if (this.#bytes - before > MOST_BYTES_AFTER_END) return;
      seen = this.#bytes;
      await setImmediate();
      await setImmediate();
    }
  }
}

function writeTo(child: ChildProcess, data: Uint8Array): Promise<void> {
  const { stdin } = child;
  if (stdin === null || !stdin.writable) return Promise.resolve();
  const written = deferred();
  stdin.write(data, () => written.resolve());
  return written.promise;
}

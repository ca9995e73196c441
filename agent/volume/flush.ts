/**
 * Makes the whole volume durable at once, through a small program (volume-sync.c): many small chunks then share one wait
 * for the disk, where an fsync of each would take one for every few. Callers that come while a flush runs share the next.
 *
 * A failed write of a file's bytes is told to a flush only once. So it fails every pack that had begun by then.
 */
import { cancel, after } from '../../shared/async/timers.js';
import { deferred, within, type Deferred } from '../../shared/async/wait.js';
import { NexusError } from '../../shared/errors.js';
import { startChild, type ChildProcess } from '../../shared/exec.js';

/** A flush also waits for what others have written to the volume. A disk that takes longer counts as hung. */
const FLUSH_MS = 30_000;
/** The program is kept this long for the next pack. */
const IDLE_MS = 10_000;

/** One user of flushes, from before its first write until its last flush. */
export interface Flushes extends Disposable {
  /** Resolves when all that was written before is durable. Codes: unavailable, deadline_exceeded. */
  flush(): Promise<void>;
}

export class VolumeFlush {
  #child: ChildProcess | undefined;
  /** Answers to come, in order; there is at most one. */
  #running: Deferred<void> | undefined;
  #next: Deferred<void> | undefined;
  #failures = 0;
  #users = 0;
  #idle: NodeJS.Timeout | undefined;

  constructor(
    private readonly program: string,
    private readonly folder: string,
  ) {}

  begin(): Flushes {
    cancel(this.#idle);
    this.#users += 1;
    this.#start();
    const failures = this.#failures;
    let isOpen = true;
    return {
      flush: async () => {
        await within(FLUSH_MS, undefined, () => this.#flush());
        if (this.#failures !== failures) throw failed('a write of the volume failed meanwhile');
      },
      [Symbol.dispose]: () => {
        if (!isOpen) return;
        isOpen = false;
        this.#users -= 1;
        if (this.#users === 0) this.#idle = after(IDLE_MS, () => this.close()).unref();
      },
    };
  }

  /** Ends the program; the next user starts it again. */
  close(): void {
    this.#child?.stdin?.end();
    this.#child = undefined;
  }

  #flush(): Promise<void> {
    if (this.#running !== undefined) return (this.#next ??= deferred()).promise;
    this.#running = deferred();
    const { promise } = this.#running;
    this.#start().stdin?.write('.');
    return promise;
  }

  #start(): ChildProcess {
    if (this.#child !== undefined) return this.#child;
    const child = startChild(this.program, [this.folder], { stdio: ['pipe', 'pipe', 'ignore'], env: {} });
    this.#child = child;
    child.unref();
    const onEnd = (): void => {
      if (this.#child === child) this.#child = undefined;
      this.#answer('it has ended');
    };
    child.once('error', onEnd);
    child.once('close', onEnd);
    // Its end is reported by 'close'.
    child.stdin.on('error', () => undefined);
    child.stdout.on('data', (answer: Buffer) => {
      const errno = answer.toString('latin1').trim();
      this.#answer(errno === '0' ? undefined : `errno ${errno}`);
    });
    return child;
  }

  #answer(failure: string | undefined): void {
    const ended = this.#running;
    if (ended === undefined) return;
    this.#running = undefined;
    if (failure === undefined) ended.resolve();
    else {
      this.#failures += 1;
      ended.reject(failed(failure));
    }
    const next = this.#next;
    this.#next = undefined;
    if (next !== undefined) this.#flush().then(next.resolve, next.reject);
  }
}

const failed = (why: string): NexusError =>
  new NexusError('unavailable', `the volume could not be made durable: ${why}; send the chunks again`);

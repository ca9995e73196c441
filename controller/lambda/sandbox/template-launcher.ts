/**
 * The template process as this one sees it: started in its own mount namespace, ready when it says so, and gone with this
 * process, whatever ends it: it holds the read end of a pipe of ours and asks the kernel to be killed when we die.
 */
import { mkdir, rm } from 'node:fs/promises';
import { connect, type Socket } from 'node:net';
import { join } from 'node:path';
import type { Advice } from '../../../shared/advice/advice.js';
import { setImmediate } from 'node:timers/promises';
import { type ChildProcess, startChild } from '../../../shared/exec.js';
import { deferred, endsWithin, outcome } from '../../../shared/async/wait.js';
import { NexusError } from '../../../shared/errors.js';
import { plainText } from '../../../shared/plain-text.js';
import type { Logger } from '../../../shared/log.js';

export interface LauncherPlaces {
  /** Root file system with python3. */
  readonly image: string;
  /** launcher.py and what belongs to it. */
  readonly program: string;
  /** A static busybox. */
  readonly busybox: string;
  /** For the socket; made and removed here. */
  readonly runDir: string;
  /** For its start, and later for each answer: it takes a millisecond, and a busy machine some hundred. */
  readonly startTimeoutMs: number;
}

const KEPT_ERROR_BYTES = 2000;

/** Its own lines are made for people; those of the shell and of Python are not, and go to the log. */
function notUp(image: string, said: string, cause: unknown): NexusError {
  const last = said.trim().split('\n').at(-1) ?? '';
  const own = /^sandbox launcher: (.+)$/.exec(last)?.[1];
  const why = own ?? 'this machine or the image lacks something; the output is in the controller’s log';
  const message = `sandboxes can't be made from the image at ${image}: ${plainText(why)}`;
  const advice: Advice[] = [{ key: 'see-doctor' }, { key: 'rebuild-base-image' }];
  return new NexusError('failed_precondition', message, { detail: plainText(last) }, { cause, advice });
}

export type Role = 'control' | 'input' | 'output' | 'errors' | 'result';

export class TemplateLauncher {
  #isAlive = true;
  readonly ended: Promise<void>;

  private constructor(
    private readonly child: ChildProcess,
    private readonly folder: string,
    private readonly timeoutMs: number,
  ) {
    const ended = deferred();
    this.ended = ended.promise;
    child.once('exit', () => {
      this.#isAlive = false;
      ended.resolve();
    });
  }

  /** Code: failed_precondition, with what it said, when it does not come up. */
  static async start(
    places: LauncherPlaces,
    generation: number,
    filter: Buffer,
    log: Logger,
  ): Promise<TemplateLauncher> {
    const folder = join(places.runDir, `launcher-${generation}`);
    await rm(folder, { recursive: true, force: true });
    await mkdir(folder, { recursive: true, mode: 0o700 });
    const { busybox, image, program, startTimeoutMs } = places;
    const stage = [busybox, 'sh', join(program, 'stage.sh'), busybox, image, program, folder];
    const child = startChild(busybox, ['unshare', '-m', ...stage], {
      // In a session of its own: a terminal's signals are for the controller.
      detached: true,
      stdio: ['pipe', 'pipe', 'pipe'],
      env: {},
      cwd: '/',
    });
    const launcher = new TemplateLauncher(child, folder, startTimeoutMs);
    // It may end at any moment; that is seen by its exit.
    child.stdin.on('error', () => undefined);
    const size = Buffer.alloc(4);
    size.writeUInt32BE(filter.length);
    child.stdin.write(Buffer.concat([size, filter]));
    let said = '';
    child.stderr.on('data', (data: Buffer) => {
      said = (said + data.toString('utf8')).slice(-KEPT_ERROR_BYTES);
      log.warn({ said: data.toString('utf8').trimEnd() }, 'output of the sandbox launcher');
    });
    try {
      await launcher.#ready(child);
    } catch (error) {
      await launcher.destroy().catch(() => undefined);
      throw notUp(image, said, error);
    }
    return launcher;
  }

  get isAlive(): boolean {
    return this.#isAlive;
  }

  get pid(): number {
    return this.child.pid ?? 0;
  }

  /** One of the five connections of a sandbox. */
  open(id: string, role: Role, spec?: object): Socket {
    // The other end of `input` is for reading alone, which must not end this one.
    const socket = connect({ path: join(this.folder, 'launcher.sock'), allowHalfOpen: role === 'input' });
    socket.write(`${JSON.stringify({ id, role, spec })}\n`);
    return socket;
  }

  /** False: it does not answer in half the time that a sandbox may take to come up from it: it is stopped or stuck. */
  async answers(): Promise<boolean> {
    const socket = connect({ path: join(this.folder, 'launcher.sock') });
    socket.write(`${JSON.stringify({ id: 'ping', role: 'ping' })}\n`);
    let isAnswered = false;
    const closed = deferred();
    socket.on('error', () => undefined);
    socket.once('data', () => {
      isAnswered = true;
    });
    socket.once('close', () => closed.resolve());
    await endsWithin(this.timeoutMs / 2, closed.promise);
    // After a stop of this process itself the time is over before the answer is read.
    await setImmediate();
    socket.destroy();
    return isAnswered;
  }

  /** Every sandbox that is left ends with it. */
  async destroy(): Promise<void> {
    if (this.#isAlive) this.child.kill('SIGKILL');
    await this.ended;
    await rm(this.folder, { recursive: true, force: true });
  }

  #ready(child: ChildProcess): Promise<void> {
    const late = (): Error => new Error(`not ready within ${this.timeoutMs} ms`);
    return outcome(
      (resolve, reject) => {
        child.stdout?.once('data', () => resolve());
        child.once('error', () => reject(new Error('it could not be started')));
        child.once('close', () => reject(new Error('it ended')));
        return undefined;
      },
      { ms: this.timeoutMs, late },
    );
  }
}

/**
 * Writes a download. A file appears under its name only when it is whole: bytes go to a hidden file beside it, which is
 * renamed at the end and removed on any failure. A device or a pipe is written into directly; writes to a pipe never
 * block in the kernel, where no signal could end the wait for its reader.
 */
import { randomBytes } from 'node:crypto';
import { constants, openSync, type Stats } from 'node:fs';
import { chown, open, rename, rm, stat, type FileHandle } from 'node:fs/promises';
import { Socket } from 'node:net';
import { basename, dirname, join } from 'node:path';
import { deferred } from '../../shared/async/wait.js';
import { systemClock } from '../../shared/async/clock.js';
import { NexusError } from '../../shared/errors.js';
import { CALLER_VARIABLE } from '../connect/elevate.js';
import { writeTo } from '../terminal/streams.js';
import { systemError } from './system-error.js';

const { O_WRONLY, O_NOCTTY, O_NONBLOCK } = constants;
/** Time between attempts to find a reader. */
const READER_POLL_MS = 20;

/** The required parts of the command's context. */
interface Caller {
  readonly signal: AbortSignal;
  readonly streams: { readonly env: NodeJS.ProcessEnv };
}

export class FileDestination implements AsyncDisposable {
  #isPublished = false;

  private constructor(
    readonly path: string,
    /** Undefined: the bytes go straight to `path`. */
    private readonly temporary: string | undefined,
    private readonly file: Sink,
  ) {}

  /**
   * `path` may be a folder: the file's own name is then used in it. `mode` is the new file's, less the umask. Codes:
   * not_found (no such folder), already_exists (a folder of that name), permission_denied, resource_exhausted.
   */
  static async open(path: string, name: string, context: Caller, mode = 0o666): Promise<FileDestination> {
    const isInto = (await find(path))?.isDirectory() === true;
    if (!isInto && path.endsWith('/')) throw noFolder(path);
    const target = isInto ? join(path, basename(name)) : path;
    const found = await find(target);
    if (found?.isDirectory() === true)
      throw new NexusError('already_exists', `cannot write ${target}: it is a folder; choose another destination`);
    if (found?.isFIFO() === true) return await FileDestination.#pipe(target, context.signal);
    if (found !== undefined && !found.isFile()) return await FileDestination.#special(target);
    const temporary = join(dirname(target), `.${basename(target)}.${randomBytes(4).toString('hex')}.nexus-part`);
    const file = await open(temporary, 'wx', mode).catch((thrown: unknown) => {
      const { code } = thrown as NodeJS.ErrnoException;
      throw code === 'ENOENT' || code === 'ENOTDIR' ? noFolder(target, thrown) : refused(thrown, target);
    });
    const destination = new FileDestination(target, temporary, fileSink(file));
    await giveToCaller(temporary, context.streams.env);
    return destination;
  }

  /** Writes into a device: renaming over it would replace it by a file. */
  static async #special(path: string): Promise<FileDestination> {
    const file = await open(path, O_WRONLY | O_NOCTTY | O_NONBLOCK).catch((thrown: unknown) => {
      throw refused(thrown, path);
    });
    return new FileDestination(path, undefined, fileSink(file));
  }

  /** Opens a pipe, which fails until it has a reader; retries until then. */
  static async #pipe(path: string, signal: AbortSignal): Promise<FileDestination> {
    for (;;) {
      signal.throwIfAborted();
      try {
        const pipe = new Socket({ fd: openSync(path, O_WRONLY | O_NONBLOCK), readable: false, writable: true });
        return new FileDestination(path, undefined, pipeSink(pipe, signal));
      } catch (thrown) {
        if ((thrown as NodeJS.ErrnoException).code !== 'ENXIO') throw refused(thrown, path);
      }
      await systemClock.sleep(READER_POLL_MS);
    }
  }

  async write(data: Buffer): Promise<void> {
    try {
      await this.file.writeAll(data);
    } catch (error) {
      if (error instanceof NexusError) throw error;
      throw refused(error, this.path);
    }
  }

  /**
   * Gives the file its name. Not synced: the cluster still has the file, and waiting for the disk would double the
   * time.
   */
  async publish(): Promise<void> {
    await this.file.close();
    if (this.temporary !== undefined) {
      await rename(this.temporary, this.path).catch((thrown: unknown) => {
        throw refused(thrown, this.path);
      });
    }
    this.#isPublished = true;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    if (this.#isPublished) return;
    await this.file.close().catch(() => undefined);
    if (this.temporary !== undefined) await rm(this.temporary, { force: true });
  }
}

interface Sink {
  writeAll(data: Buffer): Promise<void>;
  close(): Promise<void>;
}

const fileSink = (file: FileHandle): Sink => ({
  writeAll: async (data) => {
    let written = 0;
    while (written < data.length) written += (await file.write(data, written, data.length - written)).bytesWritten;
  },
  close: () => file.close(),
});

function pipeSink(pipe: Socket, signal: AbortSignal): Sink {
  // Each write reports its own error.
  pipe.on('error', () => undefined);
  return {
    writeAll: (data) => writeTo(pipe, data, signal),
    close: async () => {
      const closed = deferred();
      pipe.once('close', () => closed.resolve());
      if (signal.aborted) pipe.destroy();
      if (pipe.closed) return;
      pipe.end();
      await closed.promise;
    },
  };
}

const find = (path: string): Promise<Stats | undefined> => stat(path).catch(() => undefined);

/** A command that went through sudo still writes for the user who called it. */
export async function giveToCaller(path: string, env: NodeJS.ProcessEnv): Promise<void> {
  const [, uid, gid] = /^(\d+):(\d+)$/.exec(env[CALLER_VARIABLE] ?? '') ?? [];
  if (uid !== undefined && gid !== undefined) await chown(path, Number(uid), Number(gid));
}

const noFolder = (path: string, cause?: unknown): NexusError =>
  new NexusError(
    'not_found',
    `cannot write ${path}: its folder does not exist; choose another destination`,
    {},
    { cause },
  );

const refused = (thrown: unknown, path: string): Error =>
  systemError(thrown, `cannot write ${path}`, 'choose another destination');

/**
 * Where a download goes. A file appears under its name only when it is whole: bytes go to a hidden neighbour, which is
 * renamed at the end and removed on any failure. A device or a pipe is written into and stays what it is.
 */
import { randomBytes } from 'node:crypto';
import type { Stats } from 'node:fs';
import { chown, open, rename, rm, stat, type FileHandle } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';
import { NexusError } from '../shared/errors.js';
import { CALLER_VARIABLE } from './elevate.js';
import { systemError } from './system-error.js';

export class FileDestination implements AsyncDisposable {
  #isPublished = false;

  private constructor(
    readonly path: string,
    /** undefined: the bytes go straight to `path`. */
    private readonly temporary: string | undefined,
    private readonly file: FileHandle,
  ) {}

  /**
   * `path` may be a folder: the file's own name is used in it. `mode` is the new file's, less the umask. Codes:
   * not_found (no such folder), already_exists (a folder of that name), permission_denied, resource_exhausted.
   */
  static async open(path: string, name: string, env: NodeJS.ProcessEnv, mode = 0o666): Promise<FileDestination> {
    const isInto = (await find(path))?.isDirectory() === true;
    if (!isInto && path.endsWith('/')) throw noFolder(path);
    const target = isInto ? join(path, basename(name)) : path;
    const found = await find(target);
    if (found?.isDirectory() === true)
      throw new NexusError('already_exists', `cannot write ${target}: it is a folder; choose another destination`);
    if (found !== undefined && !found.isFile()) return await FileDestination.#special(target);
    const temporary = join(dirname(target), `.${basename(target)}.${randomBytes(4).toString('hex')}.nexus-part`);
    const file = await open(temporary, 'wx', mode).catch((thrown: unknown) => {
      const { code } = thrown as NodeJS.ErrnoException;
      throw code === 'ENOENT' || code === 'ENOTDIR' ? noFolder(target, thrown) : refused(thrown, target);
    });
    const destination = new FileDestination(target, temporary, file);
    await giveToCaller(temporary, env);
    return destination;
  }

  /** Renaming over it would replace a device by a file. */
  static async #special(path: string): Promise<FileDestination> {
    const file = await open(path, 'w').catch((thrown: unknown) => {
      throw refused(thrown, path);
    });
    return new FileDestination(path, undefined, file);
  }

  async write(data: Buffer): Promise<void> {
    let written = 0;
    try {
      while (written < data.length)
        written += (await this.file.write(data, written, data.length - written)).bytesWritten;
    } catch (error) {
      throw refused(error, this.path);
    }
  }

  /** Under its name. Not synced: the cluster still has the file, and waiting for the disk would double the time. */
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

const find = (path: string): Promise<Stats | undefined> => stat(path).catch(() => undefined);

/** A command that went through sudo still writes for the one who called it. */
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

/**
 * Where a download goes. A file appears under its name only when it is whole: bytes go to a hidden neighbour, which is
 * renamed at the end and removed on any failure.
 */
import { randomBytes } from 'node:crypto';
import { chown, open, rename, rm, stat, type FileHandle } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';
import { NexusError } from '../shared/errors.js';
import { CALLER_VARIABLE } from './elevate.js';

export class FileDestination implements AsyncDisposable {
  #isPublished = false;

  private constructor(
    readonly path: string,
    private readonly temporary: string,
    private readonly file: FileHandle,
  ) {}

  /** `path` may be a folder: the file's own name is used in it. Codes: not_found, permission_denied. */
  static async open(path: string, name: string, env: NodeJS.ProcessEnv): Promise<FileDestination> {
    const isFolder = await stat(path).then(
      (found) => found.isDirectory(),
      () => false,
    );
    const target = isFolder ? join(path, basename(name)) : path;
    const temporary = join(dirname(target), `.${basename(target)}.${randomBytes(4).toString('hex')}.nexus-part`);
    const file = await open(temporary, 'wx', 0o666).catch((thrown: unknown) => {
      const error = thrown as NodeJS.ErrnoException;
      const why = error.code === 'ENOENT' ? 'its folder does not exist' : error.message;
      throw new NexusError(
        'permission_denied',
        `cannot write ${target}: ${why}; choose another destination`,
        {},
        { cause: error },
      );
    });
    const destination = new FileDestination(target, temporary, file);
    await destination.#giveToCaller(env);
    return destination;
  }

  async write(data: Buffer): Promise<void> {
    let written = 0;
    while (written < data.length) written += (await this.file.write(data, written, data.length - written)).bytesWritten;
  }

  /** Under its name. Not synced: the cluster still has the file, and waiting for the disk would double the time. */
  async publish(): Promise<void> {
    await this.file.close();
    await rename(this.temporary, this.path);
    this.#isPublished = true;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    if (this.#isPublished) return;
    await this.file.close().catch(() => undefined);
    await rm(this.temporary, { force: true });
  }

  /** A command that went through sudo still writes for the one who called it. */
  async #giveToCaller(env: NodeJS.ProcessEnv): Promise<void> {
    const [, uid, gid] = /^(\d+):(\d+)$/.exec(env[CALLER_VARIABLE] ?? '') ?? [];
    if (uid !== undefined && gid !== undefined) await chown(this.temporary, Number(uid), Number(gid));
  }
}

/**
 * Files of the caller's virtual file system, read and written by the controller itself. Elsewhere the bytes of files
 * bypass the controller. A sandbox has no network, so a process outside has to read for it, and a process for that alone
 * would cost ten times an invocation. MAX_FILES_BYTES for an invocation and one file at a time keep this small.
 */
import { NexusError } from '../../shared/errors.js';
import { downloadFile } from '../../shared/transfer/download.js';
import type { DownloadCatalogue, UploadCatalogue } from '../../shared/transfer/port.js';
import { streamSource } from '../../shared/transfer/source.js';
import { uploadFile } from '../../shared/transfer/upload.js';
import type { LeaseId, UploadId } from '../../shared/ids.js';
import type { FileUseCases } from '../file/use-cases.js';
import type { Names } from '../store/port/fs.js';
import { pathOf } from '../store/port/fs-rules.js';
import type { FileRecord } from '../store/port/store.js';
import type { FsUseCases } from '../vfs/use-cases.js';
import { MAX_FILES_BYTES } from './limits.js';
import type { SandboxFile } from './sandbox/port.js';

export class CallerFiles {
  constructor(
    private readonly fs: FsUseCases,
    private readonly files: FileUseCases,
  ) {}

  /** For an invocation: refused now, fetched later. Codes: not_found, failed_precondition (a folder), resource_exhausted. */
  async forInvocation(user: string, paths: readonly Names[], signal: AbortSignal): Promise<SandboxFile[]> {
    const found = await Promise.all(paths.map((path) => this.fs.stat(user, path)));
    const folder = found.find(({ entry }) => entry.type === 'folder');
    if (folder !== undefined) throw new NexusError('failed_precondition', `${folder.path} is a folder; name files`);
    const bytes = found.reduce((sum, { entry }) => sum + entry.size, 0);
    if (bytes > MAX_FILES_BYTES) {
      throw new NexusError(
        'resource_exhausted',
        `the files hold ${bytes} bytes together; an invocation takes ${MAX_FILES_BYTES} at most`,
      );
    }
    return found.map(({ entry, path }, at) => ({
      path,
      size: entry.size,
      content: async () => {
        const content = await this.read(user, paths[at] ?? [], signal);
        if (content.length === entry.size) return content;
        throw new NexusError('aborted', `${path} was replaced meanwhile; run it again`);
      },
    }));
  }

  /** Codes: those of FsUseCases.openDownload and downloadFile; resource_exhausted when it is too large. */
  async read(user: string, path: Names, signal: AbortSignal): Promise<Buffer> {
    const { file, lease } = await this.fs.openDownload(user, path);
    try {
      if (file.size > MAX_FILES_BYTES) throw new NexusError('resource_exhausted', `${pathOf(path)} is too large`);
      const parts: Buffer[] = [];
      await downloadFile(this.#downloads(user, lease), {
        fileId: file.id,
        chunksCount: file.chunksCount,
        hasExplicitSizes: file.explicitSizes,
        // The buffer is used again for the next chunk.
        deliver: async (data) => void parts.push(Buffer.from(data)),
        signal,
      });
      return Buffer.concat(parts);
    } finally {
      this.fs.closeDownload(user, lease);
    }
  }

  /** Replaces what is there; makes missing folders. Codes: those of FsUseCases.openUpload and uploadFile. */
  async write(user: string, path: Names, content: Uint8Array, signal: AbortSignal): Promise<void> {
    await uploadFile(this.#uploads(user, path), {
      name: path.at(-1) ?? '',
      replicas: 0,
      expectedSize: content.length,
      source: streamSource(once(content)),
      signal,
    });
  }

  #downloads(owner: string, lease: LeaseId): DownloadCatalogue {
    return {
      reportReplica: () => Promise.resolve(),
      chunkSources: async (file, from, count) => {
        const { sources } = await this.files.catalogue.sources(file, from, count, { owner, lease });
        return sources.map(({ chunk: { id: chunkId, index, size, md5, offset }, targets }) => ({
          chunkId,
          index,
          size,
          md5,
          offset,
          replicas: targets,
        }));
      },
      findChunks: (file, range) => this.files.catalogue.chunksOf(file, range, { owner, lease }),
    };
  }

  #uploads(owner: string, path: Names): UploadCatalogue<FileRecord> {
    const { files, fs } = this;
    return {
      openUpload: async ({ replicas, expectedSize }) => {
        const options = { overwrite: true, parents: true, replicas, expectedSize };
        return { uploadId: (await fs.openUpload(owner, path, options)).upload.id };
      },
      grantChunks: (id, request) => files.uploads.grant(id as UploadId, request, owner),
      commitUpload: (id, request) => files.commit(id as UploadId, request, owner),
      abortUpload: (id) => files.abort(id as UploadId, owner),
    };
  }
}

async function* once(content: Uint8Array): AsyncGenerator<Uint8Array> {
  yield content;
}

/** The file side as one thing for the edge: uploads, the catalogue, removal. */
import type { UploadId } from '../../shared/ids.js';
import type { ChunkRecord, FileRecord } from '../store/port/store.js';
import { afterCommit } from './after-commit.js';
import { Catalogue } from './catalogue.js';
import type { FileDeps } from './deps.js';
import { Uploads } from './upload.js';

export class FileUseCases {
  readonly uploads: Uploads;
  readonly catalogue: Catalogue;

  /** `kick` makes the maintenance run soon: there are chunks to delete. */
  constructor(
    private readonly deps: FileDeps,
    private readonly kick: () => void,
  ) {
    this.uploads = new Uploads(deps);
    this.catalogue = new Catalogue(deps);
  }

  async commit(id: UploadId, request: Parameters<Uploads['commit']>[1], owner?: string): Promise<FileRecord> {
    const file = await this.uploads.commit(id, request, owner);
    await this.deps.events.append(
      'file.committed',
      file.id,
      `file ${file.name} (${file.size} bytes) was stored as ${file.id}`,
      file.owner,
    );
    await afterCommit(this.deps.log, 'look for copies that a stored file lacks', () => this.#tellLacking(file));
    this.kick();
    return file;
  }

  /** A node failed while the file was written, and no other could take its copies. */
  async #tellLacking(file: FileRecord): Promise<void> {
    if (file.replicas === 1) return;
    const { chunks } = await this.catalogue.locate(file.id);
    const copies = (chunk: ChunkRecord): number => chunk.replicas.filter((copy) => copy.state === 'ready').length;
    const lacking = chunks.filter((chunk) => copies(chunk) < file.replicas).length;
    if (lacking === 0) return;
    const message = `${lacking} chunk(s) of file ${file.name} were stored with fewer than ${file.replicas} copies; repair adds the others`;
    await this.deps.events.append('file.under_replicated', file.id, message, file.owner);
  }

  async abort(id: UploadId, owner?: string): Promise<void> {
    await this.uploads.abort(id, owner);
    this.kick();
  }

  async remove(reference: string, owner?: string): Promise<FileRecord> {
    const file = await this.catalogue.resolve(reference, owner);
    const removed = await this.deps.store.removeFile(file.id);
    await this.deps.events.append('file.removed', removed.id, `file ${removed.name} was removed`, removed.owner);
    this.kick();
    return removed;
  }
}

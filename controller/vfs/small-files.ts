/**
 * Many small files at once: opened with the grants of their chunks by one transaction, and published by another. A pack
 * is what goes to one node by one request; its files lie on the same nodes. Each file succeeds or fails by itself.
 */
import { failpoint } from '../../shared/async/failpoint.js';
import { NexusError, toNexusError } from '../../shared/errors.js';
import { newChunkId, newFileId, newUploadId, type UploadId } from '../../shared/ids.js';
import { afterCommit } from '../file/after-commit.js';
import type { FileDeps } from '../file/deps.js';
import { assertRoomForFile, planPlacement } from '../file/plan.js';
import { quotaOf } from '../file/quota.js';
import { signedCopies } from '../file/receipts.js';
import { originOf, packTargets, type ChunkTarget } from '../file/tokens.js';
import { assertMayOpen, reasonOf, type Uploads } from '../file/upload.js';
import { topOf, type Names } from '../store/port/fs.js';
import { expectFolder, folderInTheWay, somethingAt, pathOf } from '../store/port/fs-rules.js';
import type { CommittedUpload, PackedUpload } from '../store/port/store.js';

/** More would divide the files among more disks, and make each wait for its disk longer. */
const MOST_PACKS = 4;
/** Fewer files are not worth a request of their own. */
const FILES_PER_PACK = 16;

export interface SmallFile {
  readonly path: Names;
  readonly size: number;
}

export interface OpenedPacks {
  /** In the order of the request: what was opened, or why not. */
  readonly files: readonly (PackedUpload | NexusError)[];
  readonly packs: readonly { readonly files: readonly number[]; readonly target: ChunkTarget }[];
}

type Place = { readonly parentId: string; readonly name: string } | NexusError;

export class SmallFiles {
  constructor(
    private readonly deps: FileDeps,
    readonly uploads: Uploads,
    /** Called when there are chunks to delete. */
    private readonly kick: () => void,
  ) {}

  /** Codes of all: failed_precondition, resource_exhausted; of each file: those of openUpload. */
  async open(
    user: string,
    files: readonly (SmallFile | NexusError)[],
    options: { readonly overwrite: boolean; readonly replicas: number },
  ): Promise<OpenedPacks> {
    const { settings, store } = this.deps;
    const replicas = options.replicas === 0 ? settings.defaultReplicas : options.replicas;
    const places = await this.#places(user, files, options.overwrite);
    return await this.uploads.opening.run(async () => {
      assertMayOpen(await store.countUploads(user), files.length);
      return await this.uploads.placing.run(() => this.#openPlaced(user, files, places, { ...options, replicas }));
    });
  }

  async #openPlaced(
    user: string,
    files: readonly (SmallFile | NexusError)[],
    places: readonly Place[],
    { overwrite, replicas }: { readonly overwrite: boolean; readonly replicas: number },
  ): Promise<OpenedPacks> {
    const { clock, settings, store } = this.deps;
    const now = clock.now();
    const expiresAt = now + settings.uploadTtlMs;
    const filled = files.filter((file, at) => isFilled(file) && !(places[at] instanceof NexusError)).length;
    const plan = await this.#plan(filled, replicas);
    let dealt = 0;
    const planned = files.map((file, at) => {
      const place = places[at];
      if (file instanceof NexusError || place === undefined || place instanceof NexusError) return undefined;
      const { parentId, name } = place;
      const record = {
        ...{ id: newFileId(), kind: 'fs' as const, name, owner: user, size: 0, chunksCount: 0, replicas },
        ...{ status: 'uploading' as const, createdAt: now, explicitSizes: false },
      };
      const upload = {
        ...{ id: newUploadId(), fileId: record.id, replicas, expectedSize: file.size, granted: 0, reserved: file.size },
        ...{ expiresAt, parentId, entryName: name, overwrite },
      };
      // One file to each pack in turn, so that the nodes' shares are equal.
      const pack = file.size === 0 ? undefined : dealt++ % plan.chunks.length;
      const chunk = pack === undefined ? undefined : { id: newChunkId(), nodeIds: plan.chunks[pack] ?? [] };
      return { pack, opened: { file: record, upload, chunk } };
    });
    const uploads = planned.flatMap((one) => (one === undefined ? [] : [one.opened]));
    const limit = quotaOf(user, settings);
    const refused = await store.openUploads(uploads, { reason: reasonOf(plan), limit });
    this.uploads.cursor = plan.cursor;
    failpoint('upload/pack-opened');
    const outcomes = planned.map((one, at) => {
      if (one === undefined) return firstError(files[at], places[at]);
      return refused[uploads.indexOf(one.opened)] ?? one.opened;
    });
    const packs = plan.chunks.map((nodeIds, pack) => {
      const members = outcomes.flatMap((outcome, at) =>
        outcome instanceof NexusError || planned[at]?.pack !== pack ? [] : [{ at, ...outcome }],
      );
      const chunks = members.flatMap(({ file, upload, chunk }) =>
        chunk === undefined
          ? []
          : [
              {
                chunk: chunk.id,
                size: upload.expectedSize,
                of: originOf(file, { index: 0, offset: 0 }, upload.expectedSize),
              },
            ],
      );
      const [target] = packTargets(this.deps, chunks, this.uploads.known(nodeIds));
      return { files: members.map(({ at }) => at), target };
    });
    return {
      files: outcomes,
      packs: packs.flatMap(({ files: of, target }) =>
        target === undefined || of.length === 0 ? [] : [{ files: of, target }],
      ),
    };
  }

  /** Places packs as chunks: none is larger than one. */
  async #plan(files: number, replicas: number): Promise<ReturnType<typeof planPlacement>> {
    const nodes = await this.uploads.candidates([]);
    assertRoomForFile(nodes, replicas, 0);
    const ring = nodes.filter(({ schedulable }) => schedulable).length;
    const packs = Math.min(ring, MOST_PACKS, Math.ceil(files / FILES_PER_PACK));
    const filesPerChunk = Math.ceil(files / Math.max(1, packs));
    return planPlacement({ nodes, cursor: this.uploads.cursor, chunks: packs, replicas, filesPerChunk });
  }

  /** Looks a folder up once for all files in it. What the commit would reject is rejected here, as far as it is known. */
  async #places(user: string, files: readonly (SmallFile | NexusError)[], overwrite: boolean): Promise<Place[]> {
    const folders = new Map<string, Names>();
    for (const file of files)
      if (!(file instanceof NexusError)) folders.set(pathOf(file.path.slice(0, -1)), file.path.slice(0, -1));
    const found = new Map<string, string | NexusError>();
    const taken = new Map<string, 'file' | 'folder'>();
    for (const [path, names] of folders) {
      const parent = await this.#folder(user, names).catch(toNexusError);
      found.set(path, parent);
      if (parent instanceof NexusError) continue;
      const wanted = files.flatMap((file) =>
        file instanceof NexusError || pathOf(file.path.slice(0, -1)) !== path ? [] : [file.path.at(-1) ?? ''],
      );
      for (const { name, type } of await this.deps.fs.named(parent, wanted)) taken.set(`${path}\0${name}`, type);
    }
    return files.map((file) => {
      if (file instanceof NexusError) return file;
      const folder = pathOf(file.path.slice(0, -1));
      const parentId = found.get(folder) ?? '';
      const name = file.path.at(-1) ?? '';
      const there = taken.get(`${folder}\0${name}`);
      if (parentId instanceof NexusError) return parentId;
      if (there === 'folder') return folderInTheWay(file.path);
      if (there === 'file' && !overwrite) return somethingAt(file.path, 'file');
      return { parentId, name };
    });
  }

  async #folder(user: string, path: Names): Promise<string> {
    return expectFolder(await this.deps.fs.find(user, path), path)?.id ?? topOf(user);
  }

  /** Codes of all: those of receipts; of each file: those of Uploads.commit. `folder` is for the event alone. */
  async commit(
    user: string,
    ids: readonly UploadId[],
    receipts: readonly string[],
    folder: string,
  ): Promise<readonly (CommittedUpload | NexusError)[]> {
    const { store, pins, clock, settings, nodes, room } = this.deps;
    const claimed = signedCopies(receipts, nodes);
    const now = clock.now();
    failpoint('upload/pack-receipts-checked');
    const outcomes = await pins.during((claim) =>
      store.commitUploads(ids, { owner: user, claimed, limit: quotaOf(user, settings), now, claim }),
    );
    failpoint('upload/pack-published');
    room.note([...claimed.values()].flat(), now);
    await afterCommit(this.deps.log, 'tell of stored files', () => this.#tell(user, folder, outcomes));
    this.kick();
    return outcomes;
  }

  /** One event for all of them: a folder of thousands of files would drive out all others. */
  async #tell(user: string, folder: string, outcomes: readonly (CommittedUpload | NexusError)[]): Promise<void> {
    const stored = outcomes.flatMap((outcome) => (outcome instanceof NexusError ? [] : [outcome]));
    if (stored.length === 0) return;
    const bytes = stored.reduce((sum, { file }) => sum + file.size, 0);
    const message = `${stored.length} file(s), ${bytes} bytes, were stored in ${folder}`;
    await this.deps.events.append('fs.stored', folder, message, user);
    for (const { file, copies } of stored) {
      if (copies >= file.replicas) continue;
      const lacking = `1 chunk(s) of file ${file.name} were stored with fewer than ${file.replicas} copies; repair adds the others`;
      await this.deps.events.append('file.under_replicated', file.id, lacking, user);
    }
  }
}

const isFilled = (file: SmallFile | NexusError): boolean => !(file instanceof NexusError) && file.size > 0;

/** Of a file that was not even planned. */
function firstError(...given: readonly (SmallFile | Place | undefined)[]): NexusError {
  const error = given.find((one) => one instanceof NexusError);
  return error ?? new NexusError('internal', 'a file of a pack was not planned');
}

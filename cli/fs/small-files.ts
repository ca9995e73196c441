/**
 * The small files of a folder that is uploaded, many at a time: read whole, opened by one call, sent by one request to
 * each node, published by another call. A file with which anything is not as usual is left to the way of single files,
 * which finds other nodes, sends larger ones, and knows what to say; so does a cluster of a version before.
 */
import { createHash } from 'node:crypto';
import { join } from 'node:path';
import { isErrorCode, NexusError, toNexusError, type ErrorDetails } from '../../shared/errors.js';
import type { File } from '../../shared/gen/nexus/v1/file.js';
import type { ChunkPack, Failure as RpcFailure, OpenedSmallFile } from '../../shared/gen/nexus/v1/fs.js';
import { MAX_PACK_BYTES, MAX_PACKED_FILE_BYTES, MAX_PACKED_FILES } from '../../shared/limits.js';
import { isGone, patiently } from '../../shared/rpc/file-catalogue.js';
import { ChunkClient } from '../../shared/transfer/chunk-client.js';
import type { Controller } from '../connect/connection.js';
import { openSource } from '../local/source.js';
import type { Context } from '../runner/context.js';
import type { Failure } from '../runner/several.js';
import { asRefusal } from './each-file.js';
import { childPath } from './entries.js';

/** While one batch waits for disks, another is read or published. */
const BATCHES_AT_ONCE = 3;
/** Files of a batch that are read at once. */
const READS_AT_ONCE = 8;
/** A batch may wait for other uploads' turns. */
const CALL_DEADLINE_MS = 120_000;
const ABORT_DEADLINE_MS = 5000;

export interface SmallUpload {
  readonly source: string;
  /** Folder of the cluster that the names are in. */
  readonly root: string;
  readonly overwrite: boolean;
  readonly replicas: number;
  readonly onStored: (bytes: number) => void;
}

interface Stored {
  readonly done: readonly File[];
  readonly failures: readonly Failure[];
  /** Names that are to go the way of single files, in the order in which they were given. */
  readonly left: readonly string[];
}

interface Facts {
  readonly path: string;
  readonly size: number;
}

interface Content {
  readonly name: string;
  readonly data: Buffer;
}

/** Never rejects. */
export async function storeSmallFiles(
  controller: Controller,
  context: Context,
  files: readonly Facts[],
  upload: SmallUpload,
): Promise<Stored> {
  const names = files.map(({ path }) => path);
  const small = files.filter(({ size }) => size <= MAX_PACKED_FILE_BYTES);
  // A gateway takes chunks one by one, and for a single file there is nothing to share.
  if (controller.chunkRoute !== undefined || small.length < 2) return { done: [], failures: [], left: names };
  const batches = batchesOf(small);
  const client = new ChunkClient(BATCHES_AT_ONCE);
  const sender = new Sender(controller, context, upload, client);
  const work = async (): Promise<void> => {
    for (let batch = batches.shift(); batch !== undefined && sender.mayGoOn(); batch = batches.shift())
      await sender.store(batch);
  };
  try {
    await Promise.all(Array.from({ length: BATCHES_AT_ONCE }, work));
  } finally {
    client.close();
  }
  const { done, failures } = sender;
  const settled = new Set([...done.keys(), ...failures.keys()]);
  return {
    done: [...done.values()],
    failures: [...failures].map(([name, error]) => ({ name, error: asRefusal(error) })),
    left: names.filter((name) => !settled.has(name)),
  };
}

function batchesOf(files: readonly Facts[]): Facts[][] {
  const batches: Facts[][] = [];
  let bytes = Infinity;
  for (const file of files) {
    const last = batches.at(-1);
    bytes += file.size;
    if (last !== undefined && last.length < MAX_PACKED_FILES && bytes <= MAX_PACK_BYTES) last.push(file);
    else {
      batches.push([file]);
      bytes = file.size;
    }
  }
  return batches;
}

class Sender {
  readonly done = new Map<string, File>();
  readonly failures = new Map<string, NexusError>();
  #isUnknown = false;

  constructor(
    private readonly controller: Controller,
    private readonly context: Context,
    private readonly upload: SmallUpload,
    private readonly client: ChunkClient,
  ) {}

  /** False once the cluster turns out not to know packs, or the command was interrupted. */
  mayGoOn(): boolean {
    return !this.#isUnknown && !this.context.signal.aborted;
  }

  /** Never rejects: what is in neither list afterwards goes on by itself. */
  async store(batch: readonly Facts[]): Promise<void> {
    const contents = await this.#read(batch);
    if (contents.length === 0 || !this.mayGoOn()) return;
    const { fs } = this.controller;
    const { root, overwrite, replicas } = this.upload;
    const files = contents.map(({ name, data }) => ({ path: childPath(root, name), size: data.length }));
    const opened = await this.controller
      .call(fs, fs.openFsUploads, { files, overwrite, replicas }, CALL_DEADLINE_MS)
      .catch((thrown: unknown) => this.#passOver(thrown));
    if (opened === undefined) return;
    for (const [at, { failure }] of opened.files.entries())
      if (failure !== undefined) this.failures.set(contents[at]?.name ?? '', errorOf(failure));
    const isOpen = new Map(contents.map(({ name }, at) => [name, opened.files[at]]));
    const sent = await Promise.all(opened.packs.map((pack) => this.#send(pack, contents, opened.files)));
    const lost = new Set(sent.flatMap(({ lost: names }) => names));
    const whole = contents.filter(({ name }) => !lost.has(name) && !this.failures.has(name));
    const isCommitted =
      this.mayGoOn() && whole.length > 0
        ? await this.#commit(
            whole,
            isOpen,
            sent.flatMap(({ receipts }) => receipts),
          )
        : false;
    const given = contents.filter(({ name }) => lost.has(name) || (!isCommitted && !this.failures.has(name)));
    await this.#abort(given.map(({ name }) => isOpen.get(name)?.uploadId ?? ''));
  }

  /** Reads files whole; one that is not what it was listed as is left out. */
  async #read(batch: readonly Facts[]): Promise<Content[]> {
    const contents: (Content | undefined)[] = [];
    let next = 0;
    const work = async (): Promise<void> => {
      for (let at = next++; at < batch.length; at = next++) {
        const { path: name, size } = batch[at] ?? { path: '', size: 0 };
        // With a byte more than it has, so that the source sees its end, and whether it is still the same.
        const buffer = Buffer.allocUnsafe(size + 1);
        const filled = await this.#fill(name, buffer).catch(() => undefined);
        if (filled === size) contents[at] = { name, data: buffer.subarray(0, size) };
      }
    };
    await Promise.all(Array.from({ length: READS_AT_ONCE }, work));
    return contents.filter((content) => content !== undefined);
  }

  async #fill(name: string, buffer: Buffer): Promise<number> {
    await using opened = await openSource(join(this.upload.source, name), this.context, 'it was replaced; try again');
    return await opened.bytes.fill(buffer);
  }

  async #send(
    { files, target }: ChunkPack,
    contents: readonly Content[],
    opened: readonly OpenedSmallFile[],
  ): Promise<{ readonly receipts: readonly string[]; readonly lost: readonly string[] }> {
    const parts = files.flatMap((at) => {
      const [content, { chunkId: chunk } = { chunkId: '' }] = [contents[at], opened[at]];
      return content === undefined ? [] : [{ ...content, chunk, md5: md5Of(content.data) }];
    });
    try {
      if (target === undefined) throw new NexusError('internal', 'the controller granted a pack no node');
      const { receipts, failures } = await this.client.putPack(target, parts, this.context.signal);
      const failed = new Set(failures.map(({ chunk }) => chunk));
      return { receipts, lost: parts.filter(({ chunk }) => failed.has(chunk)).map(({ name }) => name) };
    } catch (thrown) {
      // An agent of a version before, which no later batch should be sent to.
      if (toNexusError(thrown).code === 'not_found') this.#isUnknown = true;
      return { receipts: [], lost: parts.map(({ name }) => name) };
    }
  }

  /** True if the controller has answered for each. */
  async #commit(
    whole: readonly Content[],
    opened: ReadonlyMap<string, OpenedSmallFile | undefined>,
    receipts: string[],
  ): Promise<boolean> {
    const { fs, file } = this.controller;
    const uploadIds = whole.map(({ name }) => opened.get(name)?.uploadId ?? '');
    let tries = 0;
    try {
      const answer = await patiently(async () => {
        tries += 1;
        // Not cut off by an interrupt: it may have happened all the same.
        const request = { uploadIds, receipts, folder: this.upload.root };
        return await this.controller.callDetached(fs, fs.commitFsUploads, request, CALL_DEADLINE_MS);
      });
      for (const [at, { file: stored, failure }] of answer.files.entries()) {
        const { name, data } = whole[at] ?? { name: '', data: Buffer.alloc(0) };
        const error = failure === undefined ? undefined : errorOf(failure);
        // The first try may have done it: then the upload is gone, and the file is there.
        const isDoubtful = tries > 1 && isGone(error);
        const found = isDoubtful
          ? (
              await this.controller
                .call(file, file.getFile, { file: opened.get(name)?.fileId ?? '' })
                .catch(() => undefined)
            )?.file
          : stored;
        // It took so long that it expired: by itself it will not.
        if (found === undefined && !isDoubtful && isGone(error)) continue;
        if (found === undefined)
          this.failures.set(name, error ?? new NexusError('internal', 'the controller answered without a file'));
        else {
          this.done.set(name, found);
          this.upload.onStored(data.length);
        }
      }
      return true;
    } catch (thrown) {
      const error = toNexusError(thrown);
      for (const { name } of whole) this.failures.set(name, error);
      return true;
    }
  }

  #passOver(thrown: unknown): undefined {
    if (toNexusError(thrown).code === 'unimplemented') this.#isUnknown = true;
    return undefined;
  }

  /** The controller also expires them, but the same names follow by themselves at once. */
  async #abort(uploadIds: readonly string[]): Promise<void> {
    const { file } = this.controller;
    const abort = (uploadId: string): Promise<unknown> =>
      this.controller.callDetached(file, file.abortUpload, { uploadId }, ABORT_DEADLINE_MS).catch(() => undefined);
    await Promise.all(uploadIds.filter((id) => id !== '').map(abort));
  }
}

const md5Of = (data: Buffer): string => createHash('md5').update(data).digest('hex');

const errorOf = ({ code, message, details }: RpcFailure): NexusError =>
  new NexusError(isErrorCode(code) ? code : 'internal', message, JSON.parse(details) as ErrorDetails);

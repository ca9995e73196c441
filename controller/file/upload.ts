/**
 * Uploads: open, grant, commit or abort. Grants are on disk before a token leaves, so that every copy an agent may
 * write is known and can be deleted; the file appears with the commit's transaction and not before.
 */
import { Limit } from '../../shared/async/turns.js';
import { NexusError } from '../../shared/errors.js';
import { failpoint } from '../../shared/async/failpoint.js';
import { newChunkId, newFileId, newUploadId, type ChunkId, type NodeId, type UploadId } from '../../shared/ids.js';
import { MAX_NAMED_CHUNKS, MAX_OPEN_UPLOADS, MAX_OPEN_UPLOADS_PER_USER } from '../../shared/limits.js';
import type { ChunkRecord, FileRecord, ReceivedChunk, UploadPlace, UploadRecord } from '../store/port/store.js';
import { noSuchUpload } from '../store/port/file-rules.js';
import { CallsUnderWay } from './calls-under-way.js';
import type { FileDeps } from './deps.js';
import { assertRoomForFile, planPlacement, type Candidate, type Placement } from './plan.js';
import { quotaOf } from './quota.js';
import { acceptReceipts, type ClaimedReceipt } from './receipts.js';
import type { StorageNode } from './nodes.js';
import { planNamedReservation, planReservation, type Reservation } from './reservation.js';
import { announcedBytes } from '../store/port/file-rules.js';
import { originOf, writeTargets, type ChunkTarget } from './tokens.js';

export interface ChunkGrant {
  readonly index: number;
  readonly chunkId: ChunkId;
  readonly targets: readonly ChunkTarget[];
}

export interface GrantRequest {
  readonly count: number;
  /** Index of the first new chunk as the sender counts; a lower one than ours means that it lost a reply. */
  readonly fromIndex?: number | undefined;
  /** Sizes of the new chunks, if the upload names them: one for each. */
  readonly sizes?: readonly number[] | undefined;
  readonly retry: readonly { readonly index: number; readonly failedNodeIds: readonly string[] }[];
  readonly receipts: readonly ClaimedReceipt[];
}

type Part = Pick<ChunkRecord, 'offset' | 'size'>;

interface NamedSizes {
  /** Bytes of all chunks that were granted before. */
  readonly grantedBytes: number;
  /** The new chunks. */
  readonly parts: readonly Part[];
}

interface Retry {
  readonly chunk: ChunkRecord;
  readonly failed: readonly NodeId[];
  /** New copies that it needs. */
  readonly replicas: number;
  readonly kept: readonly NodeId[];
  /** True if one copy is whole already. */
  readonly hasArrived: boolean;
  readonly without: ReadonlySet<NodeId>;
}

export class Uploads {
  /** Where dealing continues; to be read and written in turns of `placing` only, as by uploads of packs. */
  cursor = 0;
  /** Makes placement and its record one step: two uploads must not be promised the same room. */
  readonly placing = new Limit(1);
  /** Likewise makes counting open uploads and opening others one step. */
  readonly opening = new Limit(1);

  readonly calls = new CallsUnderWay();

  constructor(private readonly deps: FileDeps) {}

  /** Time in ms that an upload lives without a call of its sender. */
  get leaseMs(): number {
    return this.deps.settings.uploadTtlMs;
  }

  /** Restarts all leases at the controller's start: senders that still run get time to call, other uploads expire. */
  async renewAll(): Promise<void> {
    await this.deps.store.renewUploads(this.deps.clock.now() + this.leaseMs);
  }

  /** Codes: failed_precondition, resource_exhausted. */
  async open(request: {
    name: string;
    replicas: number;
    expectedSize: number;
    /** Each grant names the sizes of its chunks. */
    explicitSizes?: boolean | undefined;
    owner: string;
    /** Entry that the upload becomes; undefined: a raw file. */
    entry?: UploadPlace;
  }): Promise<{ upload: UploadRecord; file: FileRecord }> {
    const { clock, settings, store } = this.deps;
    const replicas = request.replicas === 0 ? settings.defaultReplicas : request.replicas;
    assertRoomForFile(await this.candidates([]), replicas, request.expectedSize);
    const { name, owner, expectedSize } = request;
    const file: FileRecord = {
      id: newFileId(),
      kind: request.entry === undefined ? 'raw' : 'fs',
      name,
      owner,
      size: 0,
      chunksCount: 0,
      replicas,
      status: 'uploading',
      createdAt: clock.now(),
      explicitSizes: request.explicitSizes === true,
    };
    const upload = {
      id: newUploadId(),
      fileId: file.id,
      replicas,
      expectedSize,
      granted: 0,
      reserved: expectedSize,
      ...(request.entry ?? { parentId: '', entryName: '', overwrite: false }),
    };
    return await this.opening.run(async () => {
      assertMayOpen(await store.countUploads(owner));
      const opened: UploadRecord = { ...upload, expiresAt: clock.now() + settings.uploadTtlMs };
      await store.openUpload(file, opened, quotaOf(owner, settings));
      return { upload: opened, file };
    });
  }

  /**
   * Grants at least one new chunk if any are asked for, fewer than asked if room is short. Each call extends the
   * expiry. A lost reply costs nothing: its chunks can be asked for again as retries without failed nodes.
   * Codes: not_found, invalid_argument, permission_denied (a receipt), failed_precondition, resource_exhausted,
   * unavailable (no other node for a retry).
   */
  grant(id: UploadId, request: GrantRequest, owner?: string): Promise<ChunkGrant[]> {
    const { store, clock, settings } = this.deps;
    const askedAt = clock.now();
    const grantNext = async (): Promise<ChunkGrant[]> => {
      const { upload, file } = await this.#expect(id, owner, askedAt);
      const { again, more } = grantedInVain(upload, request);
      const named = await this.#namedSizes(upload, file, request, again);
      const { count, reserved } = await this.#reserve(upload, file, more, named);
      const received = await this.#received(upload, file, request.receipts);
      const retries = await this.#retries(upload, [...request.retry, ...again], received);
      const plan = planPlacement({
        nodes: await this.candidates(received, upload, file),
        cursor: this.cursor,
        chunks: count,
        replicas: upload.replicas,
        // There were enough nodes at the start: copies that are lacking at the end are left to repair.
        least: 1,
        moves: retries.map(({ replicas, without, kept, hasArrived }) => ({
          replicas,
          without,
          // With a copy elsewhere, one copy less is better than none.
          least: hasArrived || kept.length > 0 ? 0 : 1,
        })),
      });
      const placed = plan.chunks.map((nodeIds, at) => ({
        id: newChunkId(),
        index: upload.granted + at,
        nodeIds,
        part: named?.parts[at],
      }));
      const moved = retries.map(({ chunk, failed }, at) => ({
        chunkId: chunk.id,
        from: failed,
        to: plan.moves[at] ?? [],
      }));
      const expiresAt = clock.now() + settings.uploadTtlMs;
      const limit = quotaOf(file.owner, settings);
      const change = { received, moved, placed, expiresAt, reason: reasonOf(plan), reserved, limit };
      await store.recordGrants(id, change);
      this.cursor = plan.cursor;
      const grantOf = (
        { id: chunkId, index }: Pick<ChunkRecord, 'id' | 'index'>,
        part: Part | undefined,
        nodeIds: readonly NodeId[],
      ) => ({
        index,
        chunkId,
        targets: writeTargets(
          this.deps,
          { id: chunkId, size: part?.size ?? announcedBytes(upload.expectedSize, index) },
          originOf(file, { index, offset: part?.offset ?? 0 }, upload.expectedSize),
          this.known(nodeIds),
        ),
      });
      return [
        ...retries.map(({ chunk, kept }, at) =>
          grantOf(chunk, file.explicitSizes ? chunk : undefined, [...(plan.moves[at] ?? []), ...kept]),
        ),
        ...placed.map((chunk) => grantOf(chunk, chunk.part, chunk.nodeIds)),
      ];
    };
    return this.calls.during(id, () => this.placing.run(grantNext));
  }

  /** Sets the file's path; the last call counts. Codes: not_found, failed_precondition (it is a raw file). */
  async place(id: UploadId, place: UploadPlace, owner?: string): Promise<void> {
    const { file } = await this.#expect(id, owner);
    if (file.kind !== 'fs') {
      throw new NexusError('failed_precondition', 'this upload becomes a raw file, which has no path');
    }
    await this.deps.store.placeUpload(id, place);
  }

  /** Once: the upload is gone afterwards. Codes: not_found, failed_precondition (also: not the size announced), those of receipts. */
  async commit(
    id: UploadId,
    request: { size: number; chunksCount: number; receipts: readonly ClaimedReceipt[] },
    owner?: string,
  ): Promise<FileRecord> {
    return await this.calls.during(id, () => this.#publish(id, request, owner));
  }

  async #publish(id: UploadId, request: Parameters<Uploads['commit']>[1], owner?: string): Promise<FileRecord> {
    const { store, pins, clock, settings } = this.deps;
    const { upload, file } = await this.#expect(id, owner);
    const { size, chunksCount } = request;
    if (upload.expectedSize !== 0 && size !== upload.expectedSize) throw notAsAnnounced(upload.expectedSize, size);
    const received = await this.#received(upload, file, request.receipts);
    const change = { received, size, chunksCount, limit: quotaOf(file.owner, settings), now: clock.now() };
    failpoint('upload/receipts-checked');
    const published = await pins.during((claim) => store.commitUpload(id, { ...change, claim }));
    failpoint('upload/published');
    return published;
  }

  /** Does nothing, successfully, if the upload does not exist or belongs to another user. */
  async abort(id: UploadId, owner?: string): Promise<void> {
    const { store } = this.deps;
    const upload = await store.getUpload(id);
    const file = upload === undefined ? undefined : await store.getFile(upload.fileId);
    if (owner === undefined || file?.owner === owner) await store.abortUpload(id);
  }

  /** Treats another user's upload as absent. Code: not_found. */
  async #expect(
    id: UploadId,
    owner: string | undefined,
    askedAt = this.deps.clock.now(),
  ): Promise<{ upload: UploadRecord; file: FileRecord }> {
    const upload = await this.deps.store.getUpload(id);
    if (upload === undefined || upload.expiresAt <= askedAt) throw noSuchUpload(id);
    const file = await this.deps.store.getFile(upload.fileId);
    if (file === undefined || (owner !== undefined && file.owner !== owner)) throw noSuchUpload(id);
    return { upload, file };
  }

  /** Plans as many chunks as the owner's quota has room for; with no room at all, the store refuses the grant. */
  async #reserve(
    upload: UploadRecord,
    { owner }: FileRecord,
    wanted: number,
    named: NamedSizes | undefined,
  ): Promise<Reservation> {
    const account = await this.deps.fs.account(owner);
    const limit = account?.limit ?? quotaOf(owner, this.deps.settings);
    const room = limit === 0 ? Infinity : limit - (account?.used ?? 0) - (account?.reserved ?? 0);
    if (named === undefined) return planReservation(upload, wanted, room);
    const { grantedBytes, parts } = named;
    return planNamedReservation(
      { ...upload, grantedBytes },
      parts.map(({ size }) => size),
      room,
    );
  }

  /**
   * Checks the sizes that a request names, and places them behind those granted before; undefined for an upload that
   * names none. Chunks that are granted again must have been granted with the same sizes. Codes: invalid_argument,
   * failed_precondition (more bytes than were announced).
   */
  async #namedSizes(
    upload: UploadRecord,
    file: FileRecord,
    { count, sizes = [] }: GrantRequest,
    again: GrantRequest['retry'],
  ): Promise<NamedSizes | undefined> {
    if (!file.explicitSizes) {
      if (sizes.length > 0) throw noSizes('this upload was opened without explicit sizes; leave them out');
      return undefined;
    }
    if (sizes.length !== count) throw noSizes(`there must be one for each of the ${count} new chunks`);
    if (upload.granted + count - again.length > MAX_NAMED_CHUNKS)
      throw noSizes(`a file has at most ${MAX_NAMED_CHUNKS} chunks of explicit sizes; make them larger`);
    const indexes = again.map(({ index }) => index);
    const known = await this.deps.store.chunksAt(upload.fileId, [...indexes, upload.granted - 1]);
    for (const { index, size } of known) {
      const at = indexes.indexOf(index);
      if (at !== -1 && sizes[at] !== size) throw noSizes(`chunk ${index} was granted with ${size} bytes`);
    }
    const last = known.find(({ index }) => index === upload.granted - 1);
    const grantedBytes = last === undefined ? 0 : last.offset + last.size;
    let offset = grantedBytes;
    const parts = sizes.slice(again.length).map((size) => {
      const part = { offset, size };
      offset += size;
      return part;
    });
    if (upload.expectedSize !== 0 && offset > upload.expectedSize) throw notAsAnnounced(upload.expectedSize, offset);
    return { grantedBytes, parts };
  }

  /** Returns the nodes with their room; bytes in `received` count as promised no longer. */
  async candidates(received: readonly ReceivedChunk[], upload?: UploadRecord, file?: FileRecord): Promise<Candidate[]> {
    const promised = new Map(await this.deps.store.writingBytes());
    for (const { nodeIds, index, size } of received) {
      const bytes = file?.explicitSizes === true ? size : announcedBytes(upload?.expectedSize ?? 0, index ?? 0);
      for (const nodeId of nodeIds) promised.set(nodeId, (promised.get(nodeId) ?? 0) - bytes);
    }
    return this.deps.room.candidates(this.deps.nodes.snapshot(), promised, this.deps.clock.now());
  }

  known(nodeIds: readonly NodeId[]): StorageNode[] {
    return nodeIds.map((id) => this.deps.nodes.find(id)).filter((node) => node !== undefined);
  }

  /**
   * Plans chunks whose sending failed. Each copy on a failed node gets a new node, none that the chunk was on before;
   * copies still on their way to other nodes keep their place and get fresh tokens. Codes: invalid_argument,
   * failed_precondition (stored already).
   */
  async #retries(
    upload: UploadRecord,
    wishes: GrantRequest['retry'],
    received: readonly ReceivedChunk[],
  ): Promise<Retry[]> {
    const indexes = wishes.map((wish) => wish.index);
    if (new Set(indexes).size < indexes.length) {
      throw new NexusError('invalid_argument', 'retry names a chunk twice; name each once', { field: 'retry' });
    }
    const chunks = await this.deps.store.chunksAt(upload.fileId, indexes);
    return wishes.map(({ index, failedNodeIds }) => {
      const chunk = chunks.find((candidate) => candidate.index === index);
      if (chunk === undefined) throw new NexusError('invalid_argument', `chunk ${index} was never granted`);
      const arrived = received.find((candidate) => candidate.chunkId === chunk.id)?.nodeIds ?? [];
      return this.#retryOf(upload, chunk, failedNodeIds as NodeId[], arrived);
    });
  }

  #retryOf(upload: UploadRecord, chunk: ChunkRecord, named: readonly NodeId[], arrived: readonly NodeId[]): Retry {
    const live = chunk.replicas.filter((copy) => copy.state !== 'deleting');
    const writing = live
      .filter((copy) => copy.state === 'writing' && !arrived.includes(copy.nodeId))
      .map((copy) => copy.nodeId);
    if (live.length > 0 && writing.length === 0) {
      throw new NexusError('failed_precondition', `chunk ${chunk.index} is stored already: its receipts are in`);
    }
    const isFailed = (id: NodeId): boolean => named.includes(id) || this.deps.nodes.find(id)?.writable !== true;
    const failed = writing.filter(isFailed);
    return {
      chunk,
      failed,
      // If all its nodes were removed, there is nothing to move, and all copies are missing.
      replicas: live.length === 0 ? upload.replicas : failed.length,
      kept: writing.filter((id) => !isFailed(id)),
      hasArrived: arrived.length > 0 || live.some((copy) => copy.state === 'ready'),
      without: new Set([...chunk.replicas.map((copy) => copy.nodeId), ...named]),
    };
  }

  async #received(
    upload: UploadRecord,
    file: FileRecord,
    receipts: readonly ClaimedReceipt[],
  ): Promise<readonly ReceivedChunk[]> {
    const { store, nodes, clock, room } = this.deps;
    const indexes = [...new Set(receipts.map((claim) => claim.index))];
    const chunks = await store.chunksAt(upload.fileId, indexes);
    const { received, copies } = acceptReceipts(chunks, receipts, nodes, file.explicitSizes);
    room.note(copies, clock.now());
    return received;
  }
}

const noSizes = (why: string): NexusError => new NexusError('invalid_argument', `sizes: ${why}`, { field: 'sizes' });

/** Splits a request into chunks granted before, in a reply that was lost (`again`), and new ones (`more`). */
function grantedInVain(
  { granted }: UploadRecord,
  { count, fromIndex = granted }: GrantRequest,
): { readonly again: GrantRequest['retry']; readonly more: number } {
  const known = Math.max(0, Math.min(count, granted - fromIndex));
  const again = Array.from({ length: known }, (_none, at) => ({ index: fromIndex + at, failedNodeIds: [] }));
  return { again, more: count - known };
}

/** `more`: to be opened at once. Code: resource_exhausted. */
export function assertMayOpen({ own, all }: { readonly own: number; readonly all: number }, more = 1): void {
  const isOwn = own + more > MAX_OPEN_UPLOADS_PER_USER;
  if (!isOwn && all + more <= MAX_OPEN_UPLOADS) return;
  const whose = isOwn ? `you have ${own} uploads` : `there are ${all} uploads`;
  throw new NexusError('resource_exhausted', `${whose} open; finish or abort some, then try again`, {
    retry_after_ms: 1000,
  });
}

/** Describes a placement in one line, which is kept with each of its copies. */
export function reasonOf({ considered, passedOver }: Placement): string {
  const others = Object.entries(passedOver).map(([name, why]) => `${name}: ${why}`);
  const rest = others.length === 0 ? '' : `; passed over ${others.slice(0, 5).join(', ')}`;
  return `dealt in turn to ${considered} node(s) with room${rest}`;
}

const notAsAnnounced = (announced: number, size: number): NexusError =>
  new NexusError(
    'failed_precondition',
    `${announced} bytes were announced and ${size} came: the file changed while it was read; upload it again`,
    { announced, size },
  );

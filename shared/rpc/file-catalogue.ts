/** The controller's FileService as the transfer code wants it. */
import { systemClock, type Clock } from '../async/clock.js';
import { NexusError } from '../errors.js';
import type { File, FileServiceClient } from '../gen/nexus/v1/file.js';
import type { DownloadCatalogue, UploadCatalogue } from '../transfer/port.js';
import { ConnectionLost, type UnaryMethod } from './calls.js';

/** Granting may wait for other uploads' turns. */
const GRANT_DEADLINE_MS = 120_000;
/**
 * For which an upload waits for a controller that is away: one that was killed is back within seconds, and open uploads
 * have their time anew when it is. A call that was repeated is carried out once.
 */
const PATIENCE_MS = 30_000;
const TRY_AGAIN_MS = 250;
/** The controller expires what could not be aborted. */
const ABORT_DEADLINE_MS = 5000;
const REPORT_DEADLINE_MS = 1000;

/** Someone's way to the service: a command's, or one HTTP request's. One request, one answer. */
export interface FileCalls {
  readonly file: FileServiceClient;
  call<Request, Response>(
    method: UnaryMethod<Request, Response>,
    request: Request,
    deadlineMs?: number,
  ): Promise<Response>;
  /** As `call`, and goes on when whoever asked has gone, which may be why something is cleaned up. */
  callDetached<Request, Response>(
    method: UnaryMethod<Request, Response>,
    request: Request,
    deadlineMs: number,
  ): Promise<Response>;
}

export const expectFile = (file: File | undefined): File => {
  if (file === undefined) throw new NexusError('internal', 'the controller answered without a file');
  return file;
};

/** All steps of an upload but the first, which says what the upload becomes. */
export function uploadSteps(service: FileCalls): Omit<UploadCatalogue<File>, 'openUpload'> {
  const { file } = service;
  return {
    grantChunks: async (uploadId, { count, retry, receipts, fromIndex, sizes = [] }) => {
      const request = {
        uploadId,
        count,
        ...(fromIndex === undefined ? {} : { fromIndex }),
        retry: retry.map(({ index, failedNodeIds }) => ({ index, failedNodeIds: [...failedNodeIds] })),
        receipts: [...receipts],
        sizes: [...sizes],
      };
      return (await patiently(() => service.call(file.grantChunks, request, GRANT_DEADLINE_MS))).grants;
    },
    commitUpload: async (uploadId, { size, chunksCount, receipts, fileId }) => {
      const request = { uploadId, size: BigInt(size), chunksCount, receipts: [...receipts] };
      let tries = 0;
      return await patiently(async () => {
        tries += 1;
        try {
          // Not cut off by an interrupt: it may have happened all the same, and who asked is told what became of it.
          return expectFile((await service.callDetached(file.commitUpload, request, GRANT_DEADLINE_MS)).file);
        } catch (error) {
          // The first try may have done it: then the upload is gone, and the file is there.
          if (tries === 1 || fileId === undefined || !isGone(error)) throw error;
          const found = await service.call(file.getFile, { file: fileId }).catch(() => undefined);
          if (found?.file?.id !== fileId) throw error;
          return found.file;
        }
      });
    },
    abortUpload: async (uploadId) => {
      await service.callDetached(file.abortUpload, { uploadId }, ABORT_DEADLINE_MS);
    },
  };
}

export const isGone = (error: unknown): boolean => error instanceof NexusError && error.code === 'not_found';

/** Repeats the call while the controller is away, within bounds. */
export async function patiently<Result>(call: () => Promise<Result>, clock: Clock = systemClock): Promise<Result> {
  const until = clock.monotonic() + PATIENCE_MS;
  for (;;) {
    try {
      return await call();
    } catch (error) {
      if (!(error instanceof ConnectionLost) || clock.monotonic() >= until) throw error;
    }
    await clock.sleep(TRY_AGAIN_MS);
  }
}

/** `leaseId` names the pin of a download from the virtual file system; raw files have none. */
export function downloadCatalogue(service: FileCalls, leaseId: string): DownloadCatalogue {
  const { file } = service;
  return {
    // It only helps others: a reader must not fail, or wait, for it.
    reportReplica: (chunkId, nodeId) =>
      service.call(file.reportReplica, { chunkId, nodeId }, REPORT_DEADLINE_MS).then(
        () => undefined,
        () => undefined,
      ),
    chunkSources: async (fileId, fromIndex, count, untilIndex) =>
      (await service.call(file.openDownload, { file: fileId, fromIndex, count, leaseId, untilIndex })).chunks.map(
        (chunk) => ({ ...chunk, offset: Number(chunk.offset) }),
      ),
    findChunks: async (fileId, { start, end }) => {
      const request = { file: fileId, start: BigInt(start), end: BigInt(end), leaseId };
      const { fromIndex, untilIndex } = await service.call(file.findChunks, request);
      return { from: fromIndex, until: untilIndex };
    },
  };
}

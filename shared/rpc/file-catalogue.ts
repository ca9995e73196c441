/** The controller's FileService as the transfer code wants it. */
import { NexusError } from '../errors.js';
import type { File, FileServiceClient } from '../gen/nexus/v1/file.js';
import type { DownloadCatalogue, UploadCatalogue } from '../transfer/port.js';
import type { UnaryMethod } from './calls.js';

/** Granting may wait for other uploads' turns. */
const GRANT_DEADLINE_MS = 120_000;
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
    grantChunks: async (uploadId, { count, retry, receipts }) => {
      const request = {
        uploadId,
        count,
        retry: retry.map(({ index, failedNodeIds }) => ({ index, failedNodeIds: [...failedNodeIds] })),
        receipts: [...receipts],
      };
      return (await service.call(file.grantChunks, request, GRANT_DEADLINE_MS)).grants;
    },
    commitUpload: async (uploadId, { size, chunksCount, receipts }) => {
      const request = { uploadId, size: BigInt(size), chunksCount, receipts: [...receipts] };
      return expectFile((await service.call(file.commitUpload, request, GRANT_DEADLINE_MS)).file);
    },
    abortUpload: async (uploadId) => {
      await service.callDetached(file.abortUpload, { uploadId }, ABORT_DEADLINE_MS);
    },
  };
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
      (await service.call(file.openDownload, { file: fileId, fromIndex, count, leaseId, untilIndex })).chunks,
  };
}

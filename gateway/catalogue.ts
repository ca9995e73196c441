/** The controller's file services as the transfer code wants them, within one request's session. */
import { NexusError } from '../shared/errors.js';
import type { File } from '../shared/gen/nexus/v1/file.js';
import type { DownloadCatalogue, UploadCatalogue } from '../shared/transfer/port.js';
import type { Session } from './controller.js';

/** Granting may wait for other uploads' turns. */
const GRANT_DEADLINE_MS = 120_000;
/** The controller expires what could not be aborted. */
const ABORT_DEADLINE_MS = 5000;
const REPORT_DEADLINE_MS = 1000;

export const expectFile = (file: File | undefined): File => {
  if (file === undefined) throw new NexusError('internal', 'the controller answered without a file');
  return file;
};

export interface UploadSteps {
  readonly open: () => Promise<{ readonly uploadId: string }>;
  /** What must be known or done before the file appears. */
  readonly beforeCommit: (uploadId: string) => Promise<void>;
}

export function uploadCatalogue(session: Session, { open, beforeCommit }: UploadSteps): UploadCatalogue<File> {
  const { file } = session;
  return {
    openUpload: open,
    grantChunks: async (uploadId, { count, retry, receipts }) => {
      const request = {
        uploadId,
        count,
        retry: retry.map(({ index, failedNodeIds }) => ({ index, failedNodeIds: [...failedNodeIds] })),
        receipts: [...receipts],
      };
      return (await session.call(file, file.grantChunks, request, GRANT_DEADLINE_MS)).grants;
    },
    commitUpload: async (uploadId, { size, chunksCount, receipts }) => {
      await beforeCommit(uploadId);
      const request = { uploadId, size: BigInt(size), chunksCount, receipts: [...receipts] };
      return expectFile((await session.call(file, file.commitUpload, request, GRANT_DEADLINE_MS)).file);
    },
    abortUpload: async (uploadId) => {
      await session.callDetached(file, file.abortUpload, { uploadId }, ABORT_DEADLINE_MS);
    },
  };
}

/** `leaseId` names the pin of a download from the virtual file system; raw files have none. */
export function downloadCatalogue(session: Session, leaseId: string): DownloadCatalogue {
  const { file } = session;
  return {
    // It only helps others: a reader must not fail, or wait, for it.
    reportReplica: (chunkId, nodeId) =>
      session.call(file, file.reportReplica, { chunkId, nodeId }, REPORT_DEADLINE_MS).then(
        () => undefined,
        () => undefined,
      ),
    chunkSources: async (fileId, fromIndex, count) =>
      (await session.call(file, file.openDownload, { file: fileId, fromIndex, count, leaseId })).chunks,
  };
}

/** The controller's FileService as the transfer code wants it. */
import { Metadata } from '@grpc/grpc-js';
import type { File } from '../shared/gen/nexus/v1/file.js';
import { NexusError } from '../shared/errors.js';
import type { DownloadCatalogue, UploadCatalogue } from '../shared/transfer/port.js';
import type { Controller } from './connection.js';

/** Granting may wait for other uploads' turns. */
const GRANT_DEADLINE_MS = 120_000;
/** The controller expires what could not be aborted. */
const ABORT_DEADLINE_MS = 5000;
const REPORT_DEADLINE_MS = 1000;

export const expectFile = (file: File | undefined): File => {
  if (file === undefined) throw new NexusError('internal', 'the controller answered without a file');
  return file;
};

/** `leaseId` names the pin of a download from the virtual file system; raw files have none. */
export function grpcCatalogue(controller: Controller, leaseId = ''): UploadCatalogue<File> & DownloadCatalogue {
  const { file, chunkRoute } = controller;
  return {
    ...(chunkRoute === undefined ? {} : { route: chunkRoute }),
    openUpload: ({ name, replicas, expectedSize }) =>
      controller.call(file, file.openUpload, { name, replicas, expectedSize: BigInt(expectedSize) }),
    grantChunks: async (uploadId, { count, retry, receipts }) => {
      const request = {
        uploadId,
        count,
        retry: retry.map(({ index, failedNodeIds }) => ({ index, failedNodeIds: [...failedNodeIds] })),
        receipts: [...receipts],
      };
      return (await controller.call(file, file.grantChunks, request, GRANT_DEADLINE_MS)).grants;
    },
    commitUpload: async (uploadId, { size, chunksCount, receipts }) => {
      const request = { uploadId, size: BigInt(size), chunksCount, receipts: [...receipts] };
      return expectFile((await controller.call(file, file.commitUpload, request, GRANT_DEADLINE_MS)).file);
    },
    // Without the command's own signal, which may be why the upload is aborted: the answer is not waited for long.
    abortUpload: async (uploadId) => {
      await new Promise<void>((resolve, reject) => {
        file.abortUpload({ uploadId }, new Metadata(), { deadline: Date.now() + ABORT_DEADLINE_MS }, (error) => {
          if (error === null) resolve();
          else reject(error);
        });
      });
    },
    // It only helps others: a reader must not fail, or wait, for it.
    reportReplica: (chunkId, nodeId) =>
      controller.call(file, file.reportReplica, { chunkId, nodeId }, REPORT_DEADLINE_MS).then(
        () => undefined,
        () => undefined,
      ),
    chunkSources: async (fileId, fromIndex, count) => {
      const page = await controller.call(file, file.openDownload, { file: fileId, fromIndex, count, leaseId });
      return page.chunks;
    },
  };
}

/** Where an upload into the virtual file system appears, and what may give way to it. */
export interface FsTarget {
  readonly path: string;
  readonly overwrite: boolean;
  readonly parents: boolean;
}

/** As grpcCatalogue; what is uploaded through it becomes the file at `target`. */
export function fsUploadCatalogue(controller: Controller, target: FsTarget): UploadCatalogue<File> {
  const { fs } = controller;
  return {
    ...grpcCatalogue(controller),
    openUpload: ({ replicas, expectedSize }) =>
      controller.call(fs, fs.openFsUpload, { ...target, replicas, expectedSize: BigInt(expectedSize) }),
  };
}

/** The controller's FileService as the transfer code wants it, with the way that chunks take to the nodes. */
import type { File } from '../../shared/gen/nexus/v1/file.js';
import { downloadCatalogue, uploadSteps, type FileCalls } from '../../shared/rpc/file-catalogue.js';
import type { DownloadCatalogue, UploadCatalogue } from '../../shared/transfer/port.js';
import type { Controller } from './connection.js';

/** `leaseId` names the pin of a download from the virtual file system; raw files have none. */
export function grpcCatalogue(controller: Controller, leaseId = ''): UploadCatalogue<File> & DownloadCatalogue {
  const { file, chunkRoute } = controller;
  const calls: FileCalls = {
    file,
    call: (method, request, deadlineMs) => controller.call(file, method, request, deadlineMs),
    callDetached: (method, request, deadlineMs) => controller.callDetached(file, method, request, deadlineMs),
  };
  return {
    ...(chunkRoute === undefined ? {} : { route: chunkRoute }),
    ...uploadSteps(calls),
    ...downloadCatalogue(calls, leaseId),
    openUpload: ({ expectedSize, ...rest }) =>
      controller.call(file, file.openUpload, { ...rest, expectedSize: BigInt(expectedSize) }),
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
    openUpload: ({ replicas, expectedSize, explicitSizes }) =>
      controller.call(fs, fs.openFsUpload, { ...target, replicas, explicitSizes, expectedSize: BigInt(expectedSize) }),
  };
}

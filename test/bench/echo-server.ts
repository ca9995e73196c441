/** A bare gRPC server on a Unix socket that answers every StatEntry with the same entry: what any call costs at least. */
import { Server, ServerCredentials, type sendUnaryData, type ServerUnaryCall } from '@grpc/grpc-js';
import {
  FsEntry,
  FsServiceService,
  type StatEntryRequest,
  type StatEntryResponse,
} from '../../shared/gen/nexus/v1/fs.js';

const [socket = ''] = process.argv.slice(2);
const entry = FsEntry.fromPartial({ name: 'f', path: '/f', type: 'file' });
const server = new Server();
server.addService(FsServiceService, {
  statEntry: (_call: ServerUnaryCall<StatEntryRequest, StatEntryResponse>, done: sendUnaryData<StatEntryResponse>) => {
    done(null, { entry });
  },
});
server.bindAsync(`unix:${socket}`, ServerCredentials.createInsecure(), (error) => {
  if (error !== null) throw error;
  process.stdout.write('listening\n');
});

/** Answers that the gateway itself gives to gRPC calls: the status that a NexusError has, in headers or trailers. */
import type { OutgoingHttpHeaders, ServerHttp2Stream } from 'node:http2';
import { meaningOf, type NexusError } from '../../shared/errors.js';

export const GRPC_CONTENT_TYPE = 'application/grpc';

/** gRPC percent-encodes what is not plain ASCII; the code alone goes along as metadata, as the controller does it. */
export const trailersOf = (error: NexusError): OutgoingHttpHeaders => ({
  'grpc-status': String(meaningOf(error.code).grpc),
  'grpc-message': encodeURIComponent(error.message),
  'nexus-code': error.code,
});

/** A whole answer, for a call that went no further. */
export function refuse(stream: ServerHttp2Stream, error: NexusError): void {
  if (stream.destroyed || stream.headersSent) return;
  stream.respond({ ':status': 200, 'content-type': GRPC_CONTENT_TYPE, ...trailersOf(error) }, { endStream: true });
}

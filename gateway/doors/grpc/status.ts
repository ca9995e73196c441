/** Answers that the gateway itself gives to gRPC calls: the status that a NexusError has, in headers or trailers. */
import { constants, type OutgoingHttpHeaders, type ServerHttp2Stream } from 'node:http2';
import { inCommandWords } from '../../../shared/advice/command-words.js';
import { after, cancel } from '../../../shared/async/timers.js';
import { meaningOf, type NexusError } from '../../../shared/errors.js';

export const GRPC_CONTENT_TYPE = 'application/grpc';

/** gRPC percent-encodes what is not plain ASCII; the code alone goes along as metadata, as the controller does it. */
export const trailersOf = (error: NexusError): OutgoingHttpHeaders => ({
  'grpc-status': String(meaningOf(error.code).grpc),
  'grpc-message': encodeURI(inCommandWords(error)),
  'nexus-code': error.code,
});

/** A client that has its answer closes the call; one that does not for so long has it closed. */
const LINGER_MS = 1000;

/** To be called when all of the answer, status included, is on its way. Closing at once would overtake the status. */
export function endSoon(stream: ServerHttp2Stream): void {
  stream.resume();
  const timer = after(LINGER_MS, () => stream.close(constants.NGHTTP2_NO_ERROR));
  stream.once('close', () => cancel(timer));
}

/** A whole answer, for a call that went no further. */
export function refuse(stream: ServerHttp2Stream, error: NexusError): void {
  if (stream.destroyed || stream.headersSent) return;
  stream.respond({ ':status': 200, 'content-type': GRPC_CONTENT_TYPE, ...trailersOf(error) }, { endStream: true });
  endSoon(stream);
}

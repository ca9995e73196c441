/**
 * NexusError over gRPC: the status number carries the class of the error, its text the message and the advice in words,
 * trailing metadata the exact code and the details.
 */
import { Metadata, type ServiceError, type StatusObject } from '@grpc/grpc-js';
import { inCommandWords } from '../advice/command-words.js';
import { codeOfGrpcStatus, isErrorCode, meaningOf, NexusError, type ErrorDetails } from '../errors.js';

/** Trailing metadata with the exact code: there when the far side itself has answered. */
export const CODE_KEY = 'nexus-code';
const DETAILS_KEY = 'nexus-details-bin';

/** On the admin socket: the user for whom the administrator acts. */
export const AS_USER_METADATA = 'nexus-as-user';
/** On the gateway's socket: the user's token, as `Bearer TOKEN`. */
export const AUTHORIZATION_METADATA = 'authorization';
/** On the gateway's socket: the address of the client behind it. */
export const CLIENT_ADDRESS_METADATA = 'nexus-client-address';
/** The id under which the caller logs this request. */
export const REQUEST_ID_METADATA = 'nexus-request-id';

export function statusOf(error: NexusError): StatusObject {
  const metadata = new Metadata();
  metadata.set(CODE_KEY, error.code);
  metadata.set(DETAILS_KEY, Buffer.from(JSON.stringify(error.details)));
  return { code: meaningOf(error.code).grpc, details: inCommandWords(error), metadata };
}

export function errorOfStatus(error: Pick<ServiceError, 'code' | 'details' | 'metadata'>): NexusError {
  const code = error.metadata.get(CODE_KEY)[0];
  const details = error.metadata.get(DETAILS_KEY)[0];
  return new NexusError(
    typeof code === 'string' && isErrorCode(code) ? code : codeOfGrpcStatus(error.code),
    error.details,
    Buffer.isBuffer(details) ? (JSON.parse(details.toString('utf8')) as ErrorDetails) : {},
  );
}

/** The controller behind a gateway: gRPC on the gateway's own port, with the user's token on every call. */
import { isIP } from 'node:net';
import {
  credentials,
  InterceptingCall,
  ListenerBuilder,
  status as grpcStatus,
  type Interceptor,
  type StatusObject,
} from '@grpc/grpc-js';
import { NexusError } from '../../shared/errors.js';
import { AUTHORIZATION_METADATA } from '../../shared/rpc/status.js';
import { gatewayRoute } from '../../shared/transfer/route.js';
import { openClients, type Controller } from './connection.js';
import { gatewayProblem } from './gateway-problem.js';
import { MIB } from '../../shared/limits.js';
import { readTextSoon } from '../../shared/text-now.js';
import { systemError } from '../local/system-error.js';

export interface GatewayOptions {
  /** Scheme, host and port. */
  readonly url: string;
  /** Undefined: for what comes before a token. */
  readonly token?: string | undefined;
  /** PEM of the authority that signed the gateway's certificate; undefined: those that Node knows. */
  readonly caFile?: string | undefined;
}

/** A gateway's machine that has gone is noticed, and routers in between remember a connection that is silent for long. */
const KEEP_ALIVE = { 'grpc.keepalive_time_ms': 30_000, 'grpc.keepalive_timeout_ms': 10_000 };

/** Codes: unavailable (nobody there speaks gRPC), and those of reading the file. */
export async function openGateway({ url, token, caFile }: GatewayOptions, signal: AbortSignal): Promise<Controller> {
  const ca = caFile === undefined ? undefined : await readAuthority(caFile, signal);
  const { protocol, hostname, port } = new URL(url);
  const isTls = protocol === 'https:';
  const number = port === '' ? (isTls ? 443 : 80) : Number(port);
  const host = hostname.replace(/^\[|\]$/g, '');
  // gRPC gives TLS the host as the server's name, of which Node warns where it is an address: the check is the same.
  if (isTls && isIP(host) !== 0) process.noDeprecation = true;
  const address = { host, port: number, isTls, ca };
  return await openClients({
    target: `dns:${hostname}:${number}`,
    channel: isTls ? credentials.createSsl(ca) : credentials.createInsecure(),
    options: { ...KEEP_ALIVE, interceptors: token === undefined ? [] : [bearing(token, url)] },
    signal,
    whenSilent: async () =>
      new NexusError(
        'unavailable',
        `no gateway answers at ${url}: ${await gatewayProblem(address)}; check nexus status on its machine, and the address: nexus login URL`,
      ),
    ...(token === undefined ? {} : { chunkRoute: gatewayRoute(url, token, ca) }),
  });
}

async function readAuthority(path: string, signal: AbortSignal): Promise<Buffer> {
  try {
    return Buffer.from(await readTextSoon(path, MIB, signal));
  } catch (error) {
    signal.throwIfAborted();
    throw systemError(error, `cannot read ${path}`, 'name the certificate authority with: nexus login URL --ca-file');
  }
}

/** Puts the token on every call, streams included; what refuses it says how to get another. */
const bearing =
  (token: string, url: string): Interceptor =>
  (options, nextCall) =>
    new InterceptingCall(nextCall(options), {
      start: (metadata, _listener, next) => {
        metadata.set(AUTHORIZATION_METADATA, `Bearer ${token}`);
        const onReceiveStatus = (status: StatusObject, pass: (status: StatusObject) => void): void => {
          const isRefused = status.code === grpcStatus.UNAUTHENTICATED;
          pass(isRefused ? { ...status, details: `${status.details}; run: nexus login ${url}` } : status);
        };
        next(metadata, new ListenerBuilder().withOnReceiveStatus(onReceiveStatus).build());
      },
    });

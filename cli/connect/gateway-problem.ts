/** Why there is no connection to a gateway, in words: gRPC tells only that there is none. Connects once, and sends nothing. */
import { connect as connectPlain, isIP, type Socket } from 'node:net';
import { connect as connectTls } from 'node:tls';
import { after, cancel } from '../../shared/async/timers.js';
import { outcome } from '../../shared/async/wait.js';

export interface GatewayAddress {
  readonly host: string;
  readonly port: number;
  readonly isTls: boolean;
  readonly ca: Buffer | undefined;
}

const TIMEOUT_MS = 3000;

const REASONS: Readonly<Record<string, string>> = {
  ECONNREFUSED: 'nothing listens on that port',
  ENOTFOUND: 'there is no host of that name',
  EAI_AGAIN: 'the name of the host could not be resolved',
  EHOSTUNREACH: 'the host cannot be reached',
  ENETUNREACH: 'the host cannot be reached',
  ECONNRESET: 'it closes the connection',
  EPROTO: 'it does not speak TLS; is it http://?',
  ERR_SSL_WRONG_VERSION_NUMBER: 'it does not speak TLS; is it http://?',
  ERR_SSL_PACKET_LENGTH_TOO_LONG: 'it does not speak TLS; is it http://?',
  ERR_TLS_CERT_ALTNAME_INVALID: 'its certificate is for another host',
  CERT_HAS_EXPIRED: 'its certificate has expired',
};
const UNTRUSTED =
  'its certificate was signed by an unknown authority; name the authority with: nexus login URL --ca-file FILE';
/** As OpenSSL calls an authority that is missing. */
const UNTRUSTED_CODES: readonly string[] = [
  'DEPTH_ZERO_SELF_SIGNED_CERT',
  'SELF_SIGNED_CERT_IN_CHAIN',
  'UNABLE_TO_GET_ISSUER_CERT',
  'UNABLE_TO_GET_ISSUER_CERT_LOCALLY',
  'UNABLE_TO_VERIFY_LEAF_SIGNATURE',
];

export function gatewayProblem({ host, port, isTls, ca }: GatewayAddress): Promise<string> {
  return outcome((resolve) => {
    const options = { ...(ca === undefined ? {} : { ca }), ...(isIP(host) === 0 ? { servername: host } : {}) };
    const socket: Socket = isTls
      ? connectTls({ host, port, ALPNProtocols: ['h2'], ...options })
      : connectPlain({ host, port });
    const settle = (reason: string) => (): void => resolve(reason);
    const timer = after(TIMEOUT_MS, settle('it does not answer'));
    socket.once(isTls ? 'secureConnect' : 'connect', settle('what listens there does not speak gRPC'));
    socket.once('error', (error: NodeJS.ErrnoException) => {
      resolve(reasonOf(error));
    });
    return () => {
      cancel(timer);
      socket.destroy();
    };
  });
}

function reasonOf({ code = '', message }: NodeJS.ErrnoException): string {
  return UNTRUSTED_CODES.includes(code) ? UNTRUSTED : (REASONS[code] ?? message);
}

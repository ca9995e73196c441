/** Normalizes gateway URLs, so that a session is found again however its URL was typed. Pure. */
import { isIP } from 'node:net';
import { NexusError } from '../../shared/errors.js';

/** Returns scheme, host and port. `typed` names the source: URL, --url or NEXUS_URL. Code: invalid_argument. */
export function gatewayUrl(text: string, typed: string): string {
  const url = URL.canParse(text) ? new URL(text) : undefined;
  const problem = url === undefined ? 'is no URL' : problemOf(url);
  if (url !== undefined && problem === undefined) return url.origin;
  throw new NexusError('invalid_argument', `${typed} "${text}" ${problem ?? ''}; give for example https://host:8080`);
}

function problemOf(url: URL): string | undefined {
  if (url.protocol !== 'http:' && url.protocol !== 'https:') return 'must begin with http:// or https://';
  if (url.username !== '' || url.password !== '') return 'must contain no name or password';
  if (url.pathname !== '/' || url.search !== '' || url.hash !== '') return 'must end after the host and port';
  return undefined;
}

/** Whether others could read a password that is sent there. */
export function isReadableByOthers(origin: string): boolean {
  const { protocol, hostname } = new URL(origin);
  if (protocol === 'https:' || hostname === 'localhost' || hostname === '[::1]') return false;
  return !(isIP(hostname) === 4 && hostname.startsWith('127.'));
}

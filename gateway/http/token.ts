/** The token of a request, unchecked: whether it is good is the controller's to say, with every call. */
import { NexusError } from '../../shared/errors.js';

/** Code: unauthenticated. */
export function bearerToken(header: string): string {
  const found = /^bearer +([A-Za-z0-9._~+/=-]+)$/i.exec(header.trim())?.[1];
  if (found !== undefined) return found;
  throw new NexusError('unauthenticated', 'this needs a token (Authorization: Bearer TOKEN); log in first');
}

/** Whose a token is that the controller has accepted. */
export function subjectOf(accepted: string): string {
  const claims = JSON.parse(Buffer.from(accepted.split('.')[1] ?? '', 'base64url').toString('utf8')) as { sub: string };
  return claims.sub;
}

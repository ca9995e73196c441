/** The token of a request, unchecked: whether it is good is the controller's to say, with every call. */
import { NexusError } from '../shared/errors.js';

/** Code: unauthenticated. */
export function bearerToken(header: string): string {
  const found = /^bearer +([A-Za-z0-9._~+/=-]+)$/i.exec(header.trim())?.[1];
  if (found !== undefined) return found;
  throw new NexusError('unauthenticated', 'this needs a token (Authorization: Bearer TOKEN); log in first');
}

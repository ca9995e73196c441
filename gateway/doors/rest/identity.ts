/** Who a request's token belongs to, as the transfer core wants to know it. */
import type { Context } from 'koa';
import type { Session } from '../../controller/controller.js';
import { stateOf } from '../../http/request.js';
import { bearerToken } from '../../http/token.js';
import type { Identity } from '../../transfer/port.js';

/** Codes: unauthenticated, unavailable. */
export async function identify({ koa, session }: { koa: Context; session: Session }): Promise<Identity> {
  const { username } = await session.call(session.identity.whoAmI, {});
  const { address, requestId } = stateOf(koa);
  return { account: username, credential: bearerToken(koa.get('authorization')), origin: { address, requestId } };
}

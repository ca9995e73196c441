/**
 * The controller's sockets: the admin socket and the gateway's, which serve the same use cases behind different edges.
 */
import { join } from 'node:path';
import { gatewaySocket } from '../../shared/config/settings.js';
import { serviceUserIds } from '../../shared/host/service-user.js';
import { CallStatistics } from '../metrics/call-statistics.js';
import { GatewayEdge, LocalEdge } from '../edge/admission.js';
import { exchangeOver } from '../edge/exchange.js';
import { SocketServer } from '../edge/server.js';
import { servicesFor, type UseCases } from './services.js';
import type { Starting } from './starting.js';

/** Returns the admin socket first. The sockets stop when the start is unwound. */
export async function makeSockets(starting: Starting, useCases: UseCases): Promise<readonly SocketServer[]> {
  const { settings, log, places } = starting;
  const { identity, store } = useCases;
  const calls = new CallStatistics();
  // Imported files may belong to users whose accounts were not imported: they must stay reachable.
  const isKnownUser = async (user: string): Promise<boolean> =>
    (await identity.administration.exists(user)) || (await store.fs.account(user)) !== undefined;
  const protoDir = join(places.dist, 'proto');
  const gatewayPlace = { path: gatewaySocket(settings), group: (await serviceUserIds(settings.serviceUser))?.gid };
  const forAdministrator = servicesFor(useCases, new LocalEdge(log, isKnownUser, calls));
  const forGateway = servicesFor(useCases, new GatewayEdge(log, identity.sessions, calls));
  const servers = [
    new SocketServer({ path: settings.socket }, forAdministrator, protoDir),
    new SocketServer(gatewayPlace, [...forGateway, exchangeOver(forGateway)], protoDir),
  ];
  for (const server of servers) starting.defer('stop a socket', () => server.close());
  return servers;
}

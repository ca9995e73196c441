/** For Prometheus: the figures, and where it finds the agents. Without a token; a setting says from where. */
import { BlockList, isIP } from 'node:net';
import { z } from 'zod';
import type { Context } from 'koa';
import { NexusError } from '../../../shared/errors.js';
import { stateOf } from '../../http/request.js';
import type { Scrape } from './scrape.js';
import { route, type Route } from '../../http/route.js';

const tag = 'operation';
const targetsSchema = z.array(
  z.object({ targets: z.array(z.string()), labels: z.record(z.string(), z.string()) }).meta({ id: 'TargetGroup' }),
);

export function metricsRoutes(scrape: Scrape, mayRead: (address: string) => boolean): readonly Route[] {
  const assertMayRead = (context: Context): void => {
    const { address } = stateOf(context);
    if (mayRead(address)) return;
    throw new NexusError(
      'permission_denied',
      `metrics are not available to ${address}; see the setting gateway-metrics-from`,
    );
  };
  return [
    route({
      method: 'get',
      path: '/metrics',
      tag,
      summary: 'Figures for Prometheus',
      isPublic: true,
      answers: { 200: { description: 'text format of Prometheus', type: 'text/plain' } },
      handle: async ({ koa }) => {
        assertMayRead(koa);
        return { body: await scrape.text(), type: scrape.contentType };
      },
    }),
    route({
      method: 'get',
      path: '/metrics/targets',
      tag,
      summary: 'The agents, as Prometheus discovers targets over HTTP',
      isPublic: true,
      answers: { 200: { description: 'groups of targets', schema: targetsSchema } },
      handle: async ({ koa }) => {
        assertMayRead(koa);
        return { body: await scrape.targets() };
      },
    }),
  ];
}

/**
 * Checks by address who may read the figures. `from`: addresses and networks (10.0.0.0/8) with commas between, as the
 * settings' schema has checked; undefined: everybody may.
 */
export function readersOf(from: string | undefined): (address: string) => boolean {
  if (from === undefined) return () => true;
  const networks = new BlockList();
  for (const entry of from.split(',')) {
    const [address = '', prefix] = entry.split('/');
    if (prefix === undefined) networks.addAddress(address, familyOf(address));
    else networks.addSubnet(address, Number(prefix), familyOf(address));
  }
  return (address) => isIP(address) !== 0 && networks.check(address, familyOf(address));
}

const familyOf = (address: string): 'ipv4' | 'ipv6' => (isIP(address) === 6 ? 'ipv6' : 'ipv4');

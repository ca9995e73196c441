/** Rules that hold between settings, each of which is allowed by itself. Code: invalid_argument. */
import { NexusError } from '../errors.js';
import { keyName } from './names.js';
import { abilitiesOf, type RuntimeName } from './runtimes.js';
import type { GivenSettings } from './sources.js';

export interface RelatedSettings {
  readonly runtime: RuntimeName;
  readonly spareNodes: number;
  readonly isolateNodes: 'on' | 'off';
  readonly suspectAfterMs: number;
  readonly lostAfterMs: number;
  readonly socket: string;
  readonly gatewaySocket: string;
  readonly smtpHost?: string | undefined;
  readonly smtpUser?: string | undefined;
  readonly smtpSecurity: string;
  readonly mailFrom?: string | undefined;
}

/** sun_path holds 108 bytes with its end, and longer paths are cut without a word. */
const MOST_SOCKET_BYTES = 107;

export function assertRelated(settings: RelatedSettings, given: GivenSettings): void {
  const from = (name: string): string => given.get(name)?.origin ?? 'by default';
  assertSilences(settings, from);
  for (const [setting, path] of [
    ['socket', settings.socket],
    ['runDir', settings.gatewaySocket],
  ] as const) {
    if (Buffer.byteLength(path) > MOST_SOCKET_BYTES)
      throw refused(
        `the socket path ${path} is longer than ${MOST_SOCKET_BYTES} bytes; set a shorter ${keyName(setting)}, which is given ${from(setting)}`,
      );
  }
  const { runtime, spareNodes, isolateNodes } = settings;
  if (spareNodes > 0 && !abilitiesOf(runtime).spares)
    throw refused(
      `setting spare-nodes, ${spareNodes} ${from('spareNodes')}, needs containers; the runtime is ${runtime}`,
    );
  if (isolateNodes === 'on' && !abilitiesOf(runtime).confinement)
    throw refused(`setting isolate-nodes, on ${from('isolateNodes')}, needs containers; the runtime is ${runtime}`);
  assertMailCanBeSent(settings, from);
  assertTogether('smtpUser', 'smtpPasswordFile', given);
  assertTogether('gatewayTlsCertFile', 'gatewayTlsKeyFile', given);
}

type OriginOf = (name: string) => string;

const refused = (message: string): NexusError => new NexusError('invalid_argument', message);

function assertSilences({ lostAfterMs: lost, suspectAfterMs: suspect }: RelatedSettings, from: OriginOf): void {
  if (lost > suspect) return;
  throw refused(
    `setting lost-after-ms, ${lost} ${from('lostAfterMs')}, must be larger than suspect-after-ms, ${suspect} ${from('suspectAfterMs')}`,
  );
}

function assertMailCanBeSent(settings: RelatedSettings, from: OriginOf): void {
  const { smtpHost, smtpUser, smtpSecurity, mailFrom } = settings;
  if (smtpHost !== undefined && mailFrom === undefined)
    throw refused(`setting mail-from is needed with smtp-host, which is given ${from('smtpHost')}`);
  if (smtpUser !== undefined && smtpSecurity === 'none')
    throw refused(
      `setting smtp-security, none ${from('smtpSecurity')}, would send the password in clear; use starttls or tls`,
    );
}

function assertTogether(one: string, other: string, given: GivenSettings): void {
  if (given.has(one) === given.has(other)) return;
  const alone = given.has(one) ? one : other;
  throw refused(
    `settings ${keyName(one)} and ${keyName(other)} belong together; given is only ${keyName(alone)}, ${given.get(alone)?.origin ?? ''}`,
  );
}

/**
 * Every setting of Nexus, declared once: default, unit, variable, description. Flag > environment > file > default;
 * unknown keys fail. The annotated sample file is generated from this table.
 */
import { join } from 'node:path';
import { z } from 'zod';
import { rememberedRuntime } from './choices.js';
import { isAddressOrNetwork, isSubnet } from './network.js';
import { assertRelated } from './related.js';
import { DATABASES_IN_WORDS, databaseOfUrl, URL_BEGINNINGS } from './databases.js';
import { RUNTIME_NAMES, RUNTIMES_IN_WORDS } from './runtimes.js';
import { givenSettings, type GivenSettings } from './sources.js';
import { wrongSetting } from './wrong.js';
import type { NexusError } from '../errors.js';
import { LOG_LEVELS } from '../log.js';
import { MAX_REPLICAS, MAX_SPARE_NODES, MIN_LAMBDA_MEMORY_MB } from '../limits.js';
import { DEFAULT_INSTANCE, INSTANCE_PATTERN, instanceDefaults, type InstanceDefaults } from './instance.js';

const milliseconds = (least: number) => z.coerce.number().int().min(least).max(86_400_000);
const port = z.coerce.number().int().min(1).max(65_535);
const perTime = z.coerce.number().int().min(1).max(1_000_000);
const count = (least: number, most: number) => z.coerce.number().int().min(least).max(most);
const folder = z.string().startsWith('/', 'must be an absolute path');

const schema = z.strictObject({
  instance: z
    .string()
    .regex(INSTANCE_PATTERN, 'must be 1 to 8 lower-case letters or digits, beginning with a letter')
    .default(DEFAULT_INSTANCE)
    .describe('name from which all host names, folders and addresses derive'),
  runtime: z.enum(RUNTIME_NAMES).default('runc').describe(RUNTIMES_IN_WORDS),
  stateDir: folder.optional().describe('databases, volumes, images; default from the instance name'),
  runDir: folder.optional().describe('per-node runtime files; default from the instance name'),
  socket: folder.optional().describe('admin Unix socket; default from the instance name'),
  subnet: z
    .string()
    .refine(isSubnet, 'must be an IPv4 network of /22 to /29, by its first address, such as 10.1.2.0/24')
    .optional()
    .describe('addresses of the bridge (.1) and the nodes; default from the instance name'),
  loopBase: z.coerce.number().int().min(0).max(1_048_575).optional().describe('number of the first loop device'),
  dataPort: port.default(7400).describe('TCP port of each agent on its own address'),
  natsPort: port.default(4222).describe('TCP port of nats-server on the bridge address'),
  isolateNodes: z
    .enum(['on', 'off'])
    .default('off')
    .describe('on: nodes reach each other by the data port alone; connections by any other end in silence'),
  natsUrl: z.string().optional().describe('external NATS server; unset: the controller runs its own'),
  natsConnectTimeoutMs: milliseconds(100).default(5000).describe('wait of the controller for NATS at its start, ms'),
  natsAccountSeedFile: folder
    .optional()
    .describe('external NATS: file with the seed of the account that agents and controller use'),
  natsAccountPublicKey: z
    .string()
    .optional()
    .describe('external NATS: public key of that account, where the seed is one of its signing keys'),
  natsSystemCredsFile: folder
    .optional()
    .describe('external NATS: credentials of a system-account user, for disconnect advisories; unset: heartbeats only'),
  serviceUser: z.string().default('nexus').describe('system user of nats-server and the gateway'),
  nodeUidBase: z.coerce
    .number()
    .int()
    .min(1000)
    .max(2_000_000_000)
    .default(742_000)
    .describe('host uid of the agent in slot 0; slot n uses base + n'),
  databaseUrl: z
    .string()
    .refine((url) => databaseOfUrl(url) !== undefined, `must begin with ${URL_BEGINNINGS}`)
    .refine((url) => !/^[a-z]+:\/\/[^@/?#]*:[^@/?#]*@/.test(url), 'must hold no password; use database-password-file')
    .optional()
    .describe(`${DATABASES_IN_WORDS}; unset: SQLite in the state folder`),
  databasePasswordFile: folder
    .optional()
    .describe('file with the password of the user in database-url, readable by its owner alone'),
  logLevel: z.enum(LOG_LEVELS).default('info').describe('least severe level that is logged'),
  logMaxMb: count(1, 100_000)
    .default(8)
    .describe('MB of each log file, of controller, gateway, nats-server and each node, after which it is rotated'),
  logFiles: count(1, 100).default(3).describe('files that are kept of each log, the present one included'),
  hostDiskFullPercent: count(50, 99)
    .default(90)
    .describe('use of a disk of the host, of bytes or inodes, from which status warns, percent'),
  suspectAfterMs: milliseconds(1500)
    .default(3000)
    .describe('silence of an agent after which its node is Suspect, ms; later where there are more than 50 nodes'),
  lostAfterMs: milliseconds(2000)
    .default(10_000)
    .describe('silence of an agent after which its node is Lost, ms; later where there are more than 50 nodes'),
  startTimeoutMs: milliseconds(1000)
    .default(120_000)
    .describe('wait of the command line for a controller that it started, ms; a first start unpacks the base image'),
  nodeStartTimeoutMs: milliseconds(1000).default(30_000).describe('wait for the first heartbeat of a started node, ms'),
  nodeStopGraceMs: milliseconds(100)
    .default(10_000)
    .describe('time that commands, sandboxes and the agent of a node have to finish before they are killed, ms'),
  spareNodes: count(0, MAX_SPARE_NODES)
    .default(0)
    .describe(
      'started nodes of the base image that are kept ready for a creation, each with 10 to 20 MB of memory; 0: none',
    ),
  defaultReplicas: z.coerce.number().int().min(1).max(MAX_REPLICAS).default(1).describe('copies of each chunk'),
  quotaMb: z.coerce
    .number()
    .int()
    .min(0)
    .max(1_000_000_000)
    .default(500)
    .describe('MB that a user may store where no other quota is set; 0: no limit'),
  repairConcurrency: z.coerce.number().int().min(1).max(64).default(4).describe('copies that repair makes at once'),
  repairRateMb: z.coerce
    .number()
    .int()
    .min(0)
    .max(100_000)
    .default(0)
    .describe('MB a second that repair, drain and rebalance take in all; 0: no limit'),
  scrubRateMb: z.coerce
    .number()
    .int()
    .min(1)
    .max(100_000)
    .default(20)
    .describe('MB a second that scrub reads on each node'),
  scrubIntervalHours: z.coerce
    .number()
    .int()
    .min(0)
    .max(8760)
    .default(168)
    .describe('hours after which a node is scrubbed again; 0: only on demand'),
  inventoryIntervalMs: milliseconds(1000)
    .default(600_000)
    .describe('time between comparisons of the chunks on a node with the catalogue, ms'),
  orphanGraceMs: milliseconds(0)
    .default(3_600_000)
    .describe('time for which a chunk that belongs to no file is kept before it is deleted, ms'),
  uploadTtlMs: milliseconds(1000)
    .default(45_000)
    .describe('time without any request of its sender after which an upload expires, ms'),
  smtpHost: z.string().min(1).optional().describe('mail server; unset: mail goes to the outbox folder'),
  smtpPort: port.optional().describe('port of the mail server; default 587, 465 with tls, 25 with none'),
  smtpSecurity: z
    .enum(['starttls', 'tls', 'none'])
    .default('starttls')
    .describe('starttls: refused unless the server offers it; tls: from the first byte; none: in clear'),
  smtpUser: z.string().min(1).optional().describe('name for the mail server; unset: no login'),
  smtpPasswordFile: folder.optional().describe('file with the password for the mail server'),
  smtpCaFile: folder.optional().describe('file with the authority of the mail server’s certificate, PEM'),
  mailFrom: z
    .string()
    .min(3, 'must be an address for mail')
    .optional()
    .describe('sender of mail; needed with smtp-host'),
  outboxDir: folder.optional().describe('folder for mail without a mail server; default outbox in the state folder'),
  tokenTtlMs: milliseconds(60_000).default(86_400_000).describe('life of a user’s token, ms'),
  otpTtlMs: milliseconds(10_000).default(300_000).describe('life of a code that was mailed, ms'),
  authCallsPerMinute: perTime.default(600).describe('calls to register and log in, from everywhere, in a minute'),
  authCallsPerAddressPerMinute: perTime.default(30).describe('the same from one address (IPv6: one /64) in a minute'),
  authCallsPerAddressPerHour: perTime
    .default(200)
    .describe('calls to register and log in from one address in an hour; the count survives a restart'),
  authCallsPerAccountPerHour: perTime
    .default(20)
    .describe(
      'each of the four steps of register and log in, for one account from one address in an hour; outlives a restart',
    ),
  nodesPerUser: z.coerce
    .number()
    .int()
    .min(0)
    .max(256)
    .default(0)
    .describe('number of nodes, of any size, that a user may create, start, stop and remove; 0: administrators only'),
  gateway: z.enum(['on', 'off']).default('on').describe('whether the controller runs the REST gateway'),
  gatewayHost: z.string().min(1).default('127.0.0.1').describe('address that the gateway listens on'),
  gatewayPort: port.optional().describe('TCP port of the gateway; default 8080, other instances: from their names'),
  gatewayTlsCertFile: folder.optional().describe('certificate chain of the gateway, PEM; unset: plain HTTP'),
  gatewayTlsKeyFile: folder.optional().describe('key of that certificate, PEM; may be readable by root alone'),
  gatewayCorsOrigins: z
    .string()
    .regex(
      /^(\*|https?:\/\/[^\s,/]+(,https?:\/\/[^\s,/]+)*)$/,
      'must be * or origins (https://host) with commas between',
    )
    .optional()
    .describe('origins whose pages may call the gateway, with commas between; * for all; unset: none'),
  gatewayProxies: z.coerce
    .number()
    .int()
    .min(0)
    .max(8)
    .default(0)
    .describe('reverse proxies in front of the gateway, whose X-Forwarded-For is believed'),
  gatewayMetricsFrom: z
    .string()
    .refine(
      (text) => text.split(',').every(isAddressOrNetwork),
      'must be addresses or networks with commas between, e.g. 127.0.0.1,10.0.0.0/8',
    )
    .optional()
    .describe(
      'addresses and networks that may read /metrics, e.g. 127.0.0.1,10.0.0.0/8; unset: all that reach the gateway',
    ),
  gatewayMaxUploadMb: z.coerce
    .number()
    .int()
    .min(0)
    .max(1_000_000_000)
    .default(0)
    .describe('MB that one upload through the gateway may have; 0: as much as the quota allows'),
  gatewayTransfers: z.coerce
    .number()
    .int()
    .min(1)
    .max(1024)
    .default(32)
    .describe('uploads and downloads that the gateway runs at once; further ones wait for their turn'),
  gatewayHeaderTimeoutMs: milliseconds(100).default(10_000).describe('time a client has to send its headers, ms'),
  gatewayBodyTimeoutMs: milliseconds(100).default(10_000).describe('time a client has to send a JSON body, ms'),
  gatewayStallMs: milliseconds(100)
    .default(30_000)
    .describe('time for which a client may neither send nor receive anything during a transfer, ms'),
  gatewayDrainMs: milliseconds(0)
    .default(15_000)
    .describe('time that running requests have to end when the gateway stops, ms'),
  lambdaUidBase: z.coerce
    .number()
    .int()
    .min(1000)
    .max(2_000_000_000)
    .optional()
    .describe('host uid of the first sandbox; each living one has its own; default from the instance name'),
  lambdaPoolMin: count(0, 256).default(4).describe('least number of prewarmed sandboxes'),
  lambdaPoolMax: count(0, 256).default(16).describe('largest number of prewarmed sandboxes, reached on demand'),
  lambdaMemoryMb: count(MIN_LAMBDA_MEMORY_MB, 65_536)
    .default(128)
    .describe('memory of an invocation that asks for none, MB'),
  lambdaMaxMemoryMb: count(MIN_LAMBDA_MEMORY_MB, 65_536)
    .default(1024)
    .describe('memory that an invocation may ask for, MB'),
  lambdaTimeoutMs: milliseconds(1).default(10_000).describe('time of an invocation that asks for none, ms'),
  lambdaMaxTimeoutMs: milliseconds(1).default(300_000).describe('time that an invocation may ask for, ms'),
  lambdaOutputKb: count(1, 65_536)
    .default(1024)
    .describe('output of an invocation, both streams and the result together, KB'),
  lambdaStartTimeoutMs: milliseconds(100)
    .default(10_000)
    .describe('wait for a sandbox to start, and for any answer of the process that they are forked from, ms'),
  lambdaConcurrency: count(1, 1024).default(16).describe('invocations that run at once'),
  lambdaUserConcurrency: count(1, 1024).default(8).describe('invocations of one user that run at once'),
  lambdaQueueLength: count(0, 100_000).default(200).describe('invocations that may wait for a place'),
  lambdaQueueTimeoutMs: milliseconds(1)
    .default(10_000)
    .describe('wait for a place after which an invocation fails, ms'),
});

export { schema as settingsSchema };
type Parsed = z.infer<typeof schema>;
type Derived = Omit<InstanceDefaults, 'cgroupParent' | 'bridge'>;
export type Settings = Omit<Parsed, keyof Derived> & InstanceDefaults;
export type SettingName = keyof Parsed;

export const SETTING_NAMES = Object.keys(schema.shape) as SettingName[];

export { environmentName, keyName } from './names.js';

export interface SettingSources {
  /** Values given as flags, by setting name. */
  readonly flags?: Partial<Record<SettingName, string | number | undefined>>;
  readonly env?: NodeJS.ProcessEnv;
  /** Settings file; `/etc/nexus/nexus.yaml` is read when it exists and this is unset. */
  readonly file?: string;
  /** The file's content, if it has been read already. */
  readonly text?: string | undefined;
  readonly uid?: number;
}

/** Code: invalid_argument; the message names the setting, the value given, its origin and what is allowed. */
export function loadSettings(sources: SettingSources = {}): Settings {
  const env = sources.env ?? process.env;
  const given = givenSettings(
    { flags: sources.flags ?? {}, env, file: sources.file ?? env['NEXUS_CONFIG'], text: sources.text },
    SETTING_NAMES,
  );
  const parsed = parseSettings(given);
  const uid = sources.uid ?? process.getuid?.() ?? 0;
  if (!given.has('runtime')) {
    const { stateDir } = instanceDefaults(parsed.instance, parsed.runtime, uid);
    parsed.runtime = rememberedRuntime(parsed.stateDir ?? stateDir) ?? parsed.runtime;
  }
  const derived = instanceDefaults(parsed.instance, parsed.runtime, uid);
  // Settings that were not given have no key here, so undefined never overwrites a derived value.
  const settings = { ...derived, ...parsed } as Settings;
  assertRelated({ ...settings, gatewaySocket: gatewaySocket(settings) }, given);
  return settings;
}

function parseSettings(given: GivenSettings): Parsed {
  const wrong = (name: SettingName, problem?: string): NexusError =>
    wrongSetting(name, schema.shape[name], given.get(name) ?? { value: null, origin: 'by default' }, problem);
  // Only text is accepted: the coercion below would turn lists and booleans into numbers.
  const notText = SETTING_NAMES.find((name) => given.has(name) && typeof given.get(name)?.value !== 'string');
  if (notText !== undefined) throw wrong(notText);
  const result = schema.safeParse(Object.fromEntries([...given].map(([name, { value }]) => [name, value])));
  if (result.success) return result.data;
  const [issue] = result.error.issues;
  throw wrong(issue?.path[0] as SettingName, issue?.message);
}

/** Path of the socket in the run folder that the gateway connects to. Callers on it need a user's token. */
export const gatewaySocket = (settings: Pick<Settings, 'runDir'>): string => join(settings.runDir, 'gateway.sock');

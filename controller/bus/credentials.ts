/**
 * NATS decentralised authentication (operator, account, user JWTs): the server knows only the operator's public key and
 * the account tokens; each agent gets a user token of its own, signed here, with no reload of the server.
 */
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { encodeAccount, encodeOperator, encodeUser, fmtCreds } from '@nats-io/jwt';
import { createAccount, createOperator, createUser, fromSeed, type KeyPair } from '@nats-io/nkeys';
import type { NodeId } from '../../shared/ids.js';
import { subjectsOf } from '../../shared/bus/subjects.js';
import { NexusError } from '../../shared/errors.js';
import { writeSecret } from '../host/secret-file.js';

export interface Accounts {
  readonly operator: KeyPair;
  readonly system: KeyPair;
  readonly nodes: KeyPair;
}

/** Seeds are created at the first start and kept in <state>/nats.keys (mode 0600). */
export async function loadAccounts(stateDir: string): Promise<Accounts> {
  const path = join(stateDir, 'nats.keys');
  const text = await readFile(path, 'utf8').catch((error: unknown) => {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined;
    throw error;
  });
  if (text !== undefined) {
    try {
      const seeds = JSON.parse(text) as Record<keyof Accounts, string>;
      const key = (seed: string): KeyPair => fromSeed(Buffer.from(seed));
      return { operator: key(seeds.operator), system: key(seeds.system), nodes: key(seeds.nodes) };
    } catch {
      // Not as the cause: the parser's message could contain a part of a seed.
      const advice = 'restore it from a backup, or move it away and start every node again: they get new credentials';
      throw new NexusError('data_loss', `${path} is damaged; ${advice}`);
    }
  }
  const made = { operator: createOperator(), system: createAccount(), nodes: createAccount() };
  const seeds = Object.fromEntries(
    Object.entries(made).map(([name, key]) => [name, Buffer.from(key.getSeed()).toString()]),
  );
  await writeSecret(path, JSON.stringify(seeds));
  return made;
}

/** nats-server's default of two seconds is too short for agents on a busy or emulated processor. */
const SIGN_IN_TIMEOUT_SECONDS = 30;

/** An account token without limits allows nothing: each limit has to be lifted by name. */
const UNLIMITED = { conn: -1, leaf: 0, subs: -1, data: -1, payload: -1, imports: 0, exports: 0, wildcards: true };

/** The configuration of our own server; it holds public tokens only. */
export async function serverConfig(
  accounts: Accounts,
  listen: { readonly host: string; readonly port: number; readonly pidFile: string },
): Promise<string> {
  const operatorToken = await encodeOperator('nexus', accounts.operator, {
    system_account: accounts.system.getPublicKey(),
  });
  const systemToken = await encodeAccount('SYS', accounts.system, { limits: UNLIMITED }, { signer: accounts.operator });
  const nodesToken = await encodeAccount('NODES', accounts.nodes, { limits: UNLIMITED }, { signer: accounts.operator });
  return [
    `host: "${listen.host}"`,
    `port: ${listen.port}`,
    `pid_file: "${listen.pidFile}"`,
    'server_name: nexus',
    'max_payload: 1MB',
    `authorization { timeout: ${SIGN_IN_TIMEOUT_SECONDS} }`,
    `operator: ${operatorToken}`,
    `system_account: ${accounts.system.getPublicKey()}`,
    'resolver: MEMORY',
    'resolver_preload: {',
    `  ${accounts.system.getPublicKey()}: ${systemToken}`,
    `  ${accounts.nodes.getPublicKey()}: ${nodesToken}`,
    '}',
    '',
  ].join('\n');
}

/** Credentials of the controller itself: everything in the nodes' account. */
export const controllerCredentials = (accountKey: KeyPair, issuer?: string): Promise<string> =>
  userCredentials('controller', accountKey, issuer, {});

/** Credentials to watch connections: subscribe to the system account's advisories, and nothing else. */
export const advisoryCredentials = (accounts: Accounts): Promise<string> =>
  userCredentials('advisories', accounts.system, undefined, { pub: { deny: ['>'] } });

/** Credentials of one agent: publish its own heartbeats and reports, receive its own commands, answer each once. */
export function agentCredentials(
  node: NodeId,
  instance: string,
  accountKey: KeyPair,
  issuer?: string,
): Promise<string> {
  const subjects = subjectsOf(instance);
  return userCredentials(node, accountKey, issuer, {
    pub: { allow: [subjects.heartbeat(node), subjects.report(node)] },
    sub: { allow: [subjects.command(node)] },
    resp: { max: 1, ttl: RESPONSE_WINDOW_NS },
  });
}

/** Time for an agent to answer a command: one minute, in the protocol's nanoseconds. */
const RESPONSE_WINDOW_NS = 60_000_000_000;

async function userCredentials(
  name: string,
  accountKey: KeyPair,
  issuerAccount: string | undefined,
  permissions: Parameters<typeof encodeUser>[3],
): Promise<string> {
  const user = createUser();
  const account = issuerAccount === undefined ? {} : { issuer_account: issuerAccount };
  const limits = { subs: -1, data: -1, payload: -1 };
  const token = await encodeUser(name, user, accountKey, { ...limits, ...permissions, ...account });
  return Buffer.from(fmtCreds(token, user)).toString('utf8');
}

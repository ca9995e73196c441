/**
 * Starts a node that has its volume, in named steps: configuration, container, link, first heartbeat. Each step puts
 * its inverse on the caller's undo stack.
 */
import { mkdir, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { cancel, every } from '../../../shared/async/timers.js';
import { deferred, outcome, type Deferred } from '../../../shared/async/wait.js';
import { PLACES_FILE, type AgentConfig, type AgentPlaces } from '../../../shared/config/agent-config.js';
import type { Settings } from '../../../shared/config/settings.js';
import { NexusError } from '../../../shared/errors.js';
import type { UndoStack } from '../../../shared/async/undo.js';
import type { ListeningSocket } from '../../host/listening.js';
import { isAlive } from '../../host/process-identity.js';
import { writePassingSecret } from '../../host/secret-file.js';
import type { Hosting } from '../../hosting/port.js';
import { identityOf, started, volumePlaceOf } from '../../hosting/record.js';
import type { ProcessIdentity } from '../../hosting/runtime.js';
import type { NodeRecord } from '../../store/port/store.js';
import type { NodeContext } from '../context.js';
import { howItEnded, startAdvice, startLine } from '../watch/ending.js';
import { nodeConfigDir, nodeRunDir } from '../paths.js';
import type { AgentView } from '../registry.js';
import { runSteps, type Step, type Steps, type StepTime } from './steps.js';

/** Interval at which a starting container is checked, so that one that ended is not waited for. */
const DEATH_POLL_MS = 20;

/** Results of the steps of a start so far. */
export interface Starting {
  readonly context: NodeContext;
  node: NodeRecord;
  readonly hosting: Hosting;
  readonly signal: AbortSignal;
  identity: ProcessIdentity;
  /** First process of the container, which waits for the start; undefined if there is none. */
  readonly began: Deferred<ProcessIdentity | undefined>;
  /** The first heartbeat, which may arrive during a step. */
  heard: Promise<AgentView>;
  /** The agent's, for the bus. Here alone until the agent is told whose it is. */
  credentials: string;
}

/** Steps of a start, and of a spare's, before there is a container. */
export const CLAIM_STEPS: readonly Step<Starting>[] = [
  {
    name: 'check-volume',
    do: async ({ context, node, hosting }) => {
      await hosting.volumes.assertFree(volumePlaceOf(node));
      context.registry.forgetAgent(node.id);
    },
  },
  {
    name: 'claim-ids',
    do: async (starting) => {
      const { context, node, hosting } = starting;
      await mkdir(nodeRunDir(context.settings, node.id), { recursive: true, mode: 0o700 });
      starting.node = { ...node, hosting: await hosting.claim(node) };
    },
    undo: { 'release the ids': ({ node, hosting }) => hosting.release(node) },
  },
  {
    name: 'write-places',
    do: async ({ context, node, hosting }) => {
      await writeNames(context, node);
      const { dataDir, volume, cgroup } = hosting.agentPlaces(node);
      const places: AgentPlaces = { dataDir, volume, cgroup };
      const file = join(nodeConfigDir(context.settings, node.id), PLACES_FILE);
      await writePassingSecret(file, JSON.stringify(places), hosting.agentUid(node));
    },
    undo: {
      'remove the runtime folder': ({ context, node }) =>
        rm(nodeRunDir(context.settings, node.id), { recursive: true, force: true }),
    },
  },
];

/** The container, in which the agent is loaded while the node's file system is put together; beside it, what it needs then. */
export const CONTAINER_STEPS: readonly Step<Starting>[] = [
  {
    name: 'create-container',
    do: async (starting) => {
      try {
        starting.identity = await createContainer(starting);
        starting.began.resolve(starting.identity);
      } finally {
        starting.began.resolve(undefined);
      }
    },
    undo: {
      'remove the container': ({ node, hosting }) => hosting.runtime.remove(node.id),
      'wait for the volume': ({ node, hosting }) => hosting.volumes.waitReleased(volumePlaceOf(node)),
      'let the log end': ({ node, hosting }) => hosting.logs.settle(hosting.logOf(node), true),
    },
  },
  {
    name: 'attach-link',
    do: async ({ node, hosting, began, signal }) => {
      const identity = await began.promise;
      // There is no container, which the other step tells.
      if (identity === undefined) return;
      await hosting.network.attach({ slot: node.hosting.slot, ip: node.ip, pid: identity.pid }, signal);
    },
    undo: { 'remove the link': ({ node, hosting }) => hosting.network.detach(node.hosting.slot) },
  },
  {
    name: 'issue-credentials',
    do: async (starting) => {
      starting.credentials = await starting.context.bus.issueCredentials(starting.node.id);
    },
  },
];

/** Tells the agent whose it is; it runs from then on, and is to be heard within so many ms. */
export const configure = (withinMs: (settings: Settings) => number): Step<Starting> => ({
  name: 'write-configuration',
  do: async (starting) => {
    listenForAgent(starting, withinMs(starting.context.settings));
    await writeAgentConfig(starting);
  },
});

export const HEAR_AGENT: Step<Starting> = {
  name: 'hear-agent',
  do: async ({ heard }) => {
    await heard;
  },
};

export const STORE_RUNNING: Step<Starting> = {
  name: 'store-running',
  do: async ({ context, node, identity, heard }) => {
    const { receiptKey } = await heard;
    await context.registry.move(node.id, 'Running', '', {
      hosting: started(node.hosting, identity),
      receiptKey: receiptKey.toString('base64'),
    });
  },
};

/** The steps of a start. On failure each step's result is undone, in reverse order. */
export const START_STEPS: Steps<Starting> = [
  ...CLAIM_STEPS,
  CONTAINER_STEPS,
  configure(({ nodeStartTimeoutMs }) => nodeStartTimeoutMs),
  {
    name: 'start-container',
    do: ({ node, hosting, signal }) => hosting.runtime.start(node.id, signal),
  },
  HEAR_AGENT,
  STORE_RUNNING,
];

function listenForAgent(starting: Starting, withinMs: number): void {
  starting.heard = firstHeartbeat(starting, withinMs);
  // Awaited in a later step. The no-op catch stops Node reporting an unhandled rejection if a step before that fails.
  starting.heard.catch(() => undefined);
}

/** Moves the node from Creating to Running. Returns the time that each step took. */
export async function bringUp(
  context: NodeContext,
  node: NodeRecord,
  undo: UndoStack,
  signal: AbortSignal,
): Promise<readonly StepTime[]> {
  const { clock, log } = context;
  const starting = newStarting(context, node, signal);
  return await runSteps('start', START_STEPS, starting, { undo, clock, log, about: { node: node.name } });
}

export function newStarting(context: NodeContext, node: NodeRecord, signal: AbortSignal): Starting {
  const nobody = Promise.reject<AgentView>(new Error('nothing was started'));
  nobody.catch(() => undefined);
  const hosting = context.hostings.of(node);
  const nothing = {
    identity: identityOf(node),
    began: deferred<ProcessIdentity | undefined>(),
    heard: nobody,
    credentials: '',
  };
  return { context, node, hosting, signal, ...nothing };
}

async function createContainer({ context, node, hosting, began, signal }: Starting): Promise<ProcessIdentity> {
  const spec = await hosting.containerSpec(node);
  const log = await hosting.logs.open(hosting.logOf(node), startLine(context.clock.now()));
  let statusSocket: ListeningSocket | undefined;
  try {
    statusSocket = await hosting.listenForAgent(node);
    const whole = { ...spec, output: log.output, statusSocket: statusSocket?.fd };
    return await hosting.runtime.create(whole, signal, began.resolve);
  } finally {
    statusSocket?.close();
    log.close();
  }
}

/** The credentials come first: the agent begins when its configuration is there. */
async function writeAgentConfig({ context, node, hosting, credentials }: Starting): Promise<void> {
  const { settings, bus } = context;
  const configDir = nodeConfigDir(settings, node.id);
  const config: AgentConfig = {
    nodeId: node.id,
    nodeName: node.name,
    instance: settings.instance,
    natsUrl: bus.url,
    ...hosting.agentPlaces(node),
    tokenPublicKey: context.tokenPublicKey.toString('base64'),
    host: node.ip,
    port: settings.dataPort,
  };
  const uid = hosting.agentUid(node);
  await writePassingSecret(join(configDir, 'agent.creds'), credentials, uid);
  await writePassingSecret(join(configDir, 'agent.json'), JSON.stringify(config), uid);
}

/**
 * Makes the node's folders and the files that the first stage puts into /etc, replacing those of the image. Nodes can't
 * reach a name server: the address given here refuses at once, while a look-up at the image's server would time out.
 */
export async function writeNames({ settings }: NodeContext, node: NodeRecord): Promise<void> {
  await mkdir(nodeRunDir(settings, node.id), { recursive: true, mode: 0o700 });
  await mkdir(join(settings.stateDir, 'logs'), { recursive: true, mode: 0o700 });
  const folder = join(nodeConfigDir(settings, node.id), 'etc');
  await mkdir(folder, { recursive: true, mode: 0o755 });
  const hosts = ['127.0.0.1 localhost', '::1 localhost ip6-localhost ip6-loopback', `${node.ip} ${node.name}`];
  const resolver = ['# A node has no name servers.', 'nameserver 127.0.0.1', 'options timeout:1 attempts:1'];
  const files = { hosts, hostname: [node.name], 'resolv.conf': resolver };
  for (const [name, lines] of Object.entries(files)) {
    await writeFile(join(folder, name), `${lines.join('\n')}\n`, { mode: 0o644 });
  }
}

/** Resolves with the first heartbeat; rejects if the container ends, the time is up or the caller leaves. */
function firstHeartbeat({ context, node, hosting, identity, signal }: Starting, withinMs: number): Promise<AgentView> {
  const { registry } = context;
  const late = (): NexusError =>
    new NexusError(
      'deadline_exceeded',
      `its agent sent no heartbeat within ${withinMs} ms (node-start-timeout-ms)`,
      {},
      { advice: { key: 'see-node-logs', node: node.name } },
    );
  const start = (resolve: (view: AgentView) => void, reject: (error: unknown) => void): (() => void) => {
    const stopWaiting = registry.onNextHeartbeat(node.id, resolve);
    const poll = every(DEATH_POLL_MS, () => {
      if (isAlive(identity)) return;
      cancel(poll);
      howItEnded(hosting.logs, hosting.logOf(node)).then(({ text }) => {
        const advice = startAdvice(text, node.name, hosting.volumes.pathOf(node.id));
        reject(new NexusError('failed_precondition', `the node ended while it started: ${text}`, {}, { advice }));
      }, reject);
    });
    return () => {
      cancel(poll);
      stopWaiting();
    };
  };
  return outcome(start, { signal, ms: withinMs, late });
}

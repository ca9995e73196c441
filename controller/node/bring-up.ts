/**
 * Starts a node that has its volume: configuration, container, link, first heartbeat. Each step leaves its inverse on
 * the caller's undo stack. The node is in Creating before and in Running after.
 */
import { readFileSync } from 'node:fs';
import { mkdir, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { AgentConfig } from '../../shared/config/agent-config.js';
import { NexusError } from '../../shared/errors.js';
import { failpoint } from '../../shared/failpoint.js';
import { MIB } from '../../shared/limits.js';
import type { UndoStack } from '../../shared/undo.js';
import { listenForAnother, type ListeningSocket } from '../host/listening.js';
import { isAlive } from '../host/process-identity.js';
import { writeSecret } from '../host/secret-file.js';
import { IN_NODE } from '../hosting/contained/bundle.js';
import { STATUS_SOCKET_FD, type ContainerSpec, type ProcessIdentity } from '../hosting/runtime.js';
import type { NodeRecord } from '../store/port.js';
import type { NodeContext } from './context.js';
import { howItEnded, startAdvice, startLine } from './ending.js';
import { nodeConfigDir, nodeLogPlace, nodeRunDir, nodeSocket } from './paths.js';
import type { AgentView } from './registry.js';

/** How often a starting container is looked at, so that one that ended is not waited for. */
const DEATH_POLL_MS = 20;

export async function bringUp(
  context: NodeContext,
  node: NodeRecord,
  undo: UndoStack,
  signal: AbortSignal,
): Promise<void> {
  const { registry, runtime, network, settings, volumes, logs } = context;
  await volumes.assertFree(node.id, node.loopDevice);
  registry.forgetAgent(node.id);
  undo.defer('remove runtime folder', () => rm(nodeRunDir(settings, node.id), { recursive: true, force: true }));
  await writeConfig(context, node);
  undo.defer('let the log end', () => logs.settle(nodeLogPlace(settings, node.id), true));
  failpoint('bring-up/configured');

  undo.defer('wait for the volume', () => volumes.waitReleased(node.id, node.loopDevice));
  undo.defer('remove container', () => runtime.remove(node.id));
  const identity = await createContainer(context, node, signal);
  failpoint('bring-up/container-created');

  undo.defer('remove link', () => network.detach(node.slot));
  await network.attach({ slot: node.slot, ip: node.ip, pid: identity.pid }, signal);
  failpoint('bring-up/link-attached');

  const heard = firstHeartbeat(context, node, identity, signal);
  // Observed below; a failure of `start` must not leave it unhandled.
  heard.catch(() => undefined);
  await runtime.start(node.id, signal);
  failpoint('bring-up/container-started');

  const agent = await heard;
  failpoint('bring-up/heard');
  await registry.move(node.id, 'Running', '', {
    pid: identity.pid,
    pidStartTicks: identity.startTicks,
    bootId: bootId(),
    receiptKey: agent.receiptKey.toString('base64'),
  });
  failpoint('bring-up/running');
}

/** Changes with each boot of the host: containers of an earlier one are gone. */
export const bootId = (): string => readFileSync('/proc/sys/kernel/random/boot_id', 'utf8').trim();

async function createContainer(context: NodeContext, node: NodeRecord, signal: AbortSignal): Promise<ProcessIdentity> {
  const { logs, runtime, settings, clock } = context;
  const spec = await containerSpec(context, node);
  const log = await logs.open(nodeLogPlace(settings, node.id), startLine(clock.now()));
  let statusSocket: ListeningSocket | undefined;
  try {
    // Through a socket in its own root, a node could lead whoever inspects it to any other socket of the host.
    if (runtime.agentCgroup !== 'none') statusSocket = await listenForAnother(nodeSocket(settings, node.id));
    return await runtime.create({ ...spec, output: log.output, statusSocket: statusSocket?.fd }, signal);
  } finally {
    statusSocket?.close();
    log.close();
  }
}

async function containerSpec(context: NodeContext, node: NodeRecord): Promise<Omit<ContainerSpec, 'output'>> {
  const { settings, images, volumes, runtime } = context;
  return {
    nodeId: node.id,
    hostname: node.name,
    limits: { memoryBytes: node.memoryMb * MIB, cpuWeight: node.cpuWeight, pids: node.pidsLimit },
    agentUid: agentUid(context, node),
    rootfs: runtime.agentCgroup === 'none' ? '' : await images.rootfsOf(node.image),
    volumePath: volumes.pathOf(node.id),
    volumeUuid: node.volumeUuid,
    loopDevice: node.loopDevice,
    configDir: nodeConfigDir(settings, node.id),
  };
}

const agentUid = (context: NodeContext, node: Pick<NodeRecord, 'slot'>): number =>
  context.runtime.agentCgroup === 'none' ? (process.getuid?.() ?? 0) : context.settings.nodeUidBase + node.slot;

async function writeConfig(context: NodeContext, node: NodeRecord): Promise<void> {
  const { settings, bus, network, runtime, volumes } = context;
  const isContained = runtime.agentCgroup !== 'none';
  const configDir = nodeConfigDir(settings, node.id);
  await mkdir(nodeRunDir(settings, node.id), { recursive: true, mode: 0o700 });
  await mkdir(configDir, { recursive: true, mode: 0o755 });
  await mkdir(join(settings.stateDir, 'logs'), { recursive: true, mode: 0o700 });
  const config: AgentConfig = {
    nodeId: node.id,
    nodeName: node.name,
    instance: settings.instance,
    natsUrl: bus.url,
    credsFile: join(isContained ? IN_NODE.config : configDir, 'agent.creds'),
    tokenPublicKey: context.tokenPublicKey.toString('base64'),
    host: node.ip,
    port: settings.dataPort,
    dataDir: isContained ? IN_NODE.data : volumes.pathOf(node.id),
    volume: volumes.usesLoopDevices ? { kind: 'mounted' } : { kind: 'directory', sizeBytes: node.storageBytes },
    statusSocket: isContained ? { fd: STATUS_SOCKET_FD } : { path: nodeSocket(settings, node.id) },
    cgroup: runtime.agentCgroup,
    networkInterface: network.nodeInterface,
  };
  const uid = agentUid(context, node);
  await writeNames(configDir, node);
  await writeSecret(join(configDir, 'agent.json'), JSON.stringify(config), uid);
  await writeSecret(join(configDir, 'agent.creds'), await bus.issueCredentials(node.id), uid);
}

/**
 * What the first stage puts at /etc, over whatever the image brought from where it was built. No name server can be
 * reached from a node: the one that is named refuses at once, while one of the image's is waited for at each look-up.
 */
async function writeNames(configDir: string, node: NodeRecord): Promise<void> {
  const folder = join(configDir, 'etc');
  await mkdir(folder, { recursive: true, mode: 0o755 });
  const hosts = ['127.0.0.1 localhost', '::1 localhost ip6-localhost ip6-loopback', `${node.ip} ${node.name}`];
  const resolver = ['# A node has no name servers.', 'nameserver 127.0.0.1', 'options timeout:1 attempts:1'];
  const files = { hosts, hostname: [node.name], 'resolv.conf': resolver };
  for (const [name, lines] of Object.entries(files)) {
    await writeFile(join(folder, name), `${lines.join('\n')}\n`, { mode: 0o644 });
  }
}

/** Resolves with the first heartbeat; rejects when the container ends, time is up or the caller goes. */
function firstHeartbeat(
  context: NodeContext,
  node: NodeRecord,
  identity: ProcessIdentity,
  signal: AbortSignal,
): Promise<AgentView> {
  const { registry, settings, volumes } = context;
  return new Promise((resolve, reject) => {
    const done = (): void => {
      clearInterval(poll);
      clearTimeout(timer);
      stopWaiting();
      signal.removeEventListener('abort', onAbort);
    };
    const fail = (error: Error): void => {
      done();
      reject(error);
    };
    const onAbort = (): void => {
      fail(signal.reason as Error);
    };
    const stopWaiting = registry.onNextHeartbeat(node.id, (view) => {
      done();
      resolve(view);
    });
    const poll = setInterval(() => {
      if (isAlive(identity)) return;
      done();
      howItEnded(context.logs, nodeLogPlace(settings, node.id)).then(({ text }) => {
        const why = startAdvice(text, node.name, volumes.pathOf(node.id));
        reject(new NexusError('failed_precondition', `the node ended while it started: ${why}`));
      }, reject);
    }, DEATH_POLL_MS);
    const timer = setTimeout(() => {
      fail(
        new NexusError(
          'deadline_exceeded',
          `the agent was not heard within ${settings.nodeStartTimeoutMs} ms; see nexus node logs, or raise node-start-timeout-ms`,
        ),
      );
    }, settings.nodeStartTimeoutMs);
    signal.addEventListener('abort', onAbort, { once: true });
    if (signal.aborted) onAbort();
  });
}

/** The node verbs on fakes with one script, so that the order of calls over all ports is seen. No root is needed. */
import { existsSync, mkdirSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { inCommandWords } from '../../shared/advice/command-words.js';
import { FakeBus } from '../fakes/agent-bus.js';
import { SharedCauses } from '../../controller/cause/shared-causes.js';
import { EventLog } from '../../controller/events/log.js';
import { HostRoom } from '../../controller/host/room.js';
import type { ImageStore } from '../../controller/image/port.js';
import { FakeLogWriters } from '../fakes/log-writers.js';
import { FakeNetwork } from '../fakes/network.js';
import { MetricsHistory } from '../../controller/metrics/history.js';
import { hostings } from '../../controller/hosting/profiles.js';
import { volumePlaceOf } from '../../controller/hosting/record.js';
import type { ProcessIdentity } from '../../controller/hosting/runtime.js';
import { parseSubnet } from '../../controller/hosting/subnet.js';
import { deviceOf } from '../../controller/hosting/volumes.js';
import { fakeHosting } from '../fakes/hosting.js';
import type { NodeContext } from '../../controller/node/context.js';
import type { CreateNodeRequest } from '../../controller/node/life/create.js';
import { nodeLog, nodeRunDir } from '../../controller/node/paths.js';
import { NodeRegistry } from '../../controller/node/registry.js';
import { NodeService } from '../../controller/node/service.js';
import { NodeWatch } from '../../controller/node/watch/watch.js';
import { FakeRuntime } from '../fakes/runtime.js';
import { FakeStore } from '../fakes/store.js';
import type { NodeRecord, NodeStore } from '../../controller/store/port/store.js';
import { FakeVolumes } from '../fakes/volumes.js';
import { systemClock } from '../../shared/async/clock.js';
import { loadSettings, type Settings } from '../../shared/config/settings.js';
import { FakeScript } from '../fakes/script.js';
import { AgentHeartbeat, type AgentCommand, type AgentReply } from '../../shared/gen/nexus/v1/agent.js';
import type { NodeId } from '../../shared/ids.js';
import { GIB, MIB } from '../../shared/limits.js';
import { createLogger } from '../../shared/log.js';

const log = createLogger('test', 'silent');

export const NODE_REQUEST: CreateNodeRequest = {
  name: 'web',
  memoryMb: 64,
  cpuWeight: 100,
  pidsLimit: 64,
  storageBytes: 64 * MIB,
  image: 'base',
  labels: {},
};

export class NodeBench {
  readonly folder = mkdtempSync(join(tmpdir(), 'nexus-nodes-'));
  readonly script = new FakeScript();
  readonly runtime: FakeRuntime;
  readonly volumes = new FakeVolumes(this.script);
  readonly bus = new FakeBus(this.script);
  /** What reached agents, in order. */
  readonly asked: AgentCommand[] = [];
  readonly network: FakeNetwork;
  readonly store = new FakeStore();
  readonly settings: Settings;
  /** Off: started agents are never heard. */
  agentsSpeak = true;
  /** To every command. */
  agentsAnswer: Partial<AgentReply> = { errorCode: 'unavailable', errorMessage: 'this agent takes no commands' };
  readonly context: NodeContext;
  readonly service: NodeService;

  private constructor() {
    this.runtime = new FakeRuntime(this.script);
    const subnet = '10.0.42.0/28';
    this.network = new FakeNetwork(parseSubnet(subnet).hostAddress, this.script);
    // Another instance's settings than the default's, so that no file of this machine is read.
    const defaults = loadSettings({ env: { NEXUS_INSTANCE: 'ctunit' }, uid: 0 });
    const folders = { stateDir: join(this.folder, 'state'), runDir: join(this.folder, 'run') };
    this.settings = { ...defaults, ...folders, subnet, nodeUidBase: process.getuid?.() ?? 0, nodeStartTimeoutMs: 200 };
    mkdirSync(folders.stateDir);
    mkdirSync(folders.runDir);
    this.runtime.onCreate = (id) => this.#hold(id);
    this.runtime.onStart = (id) => this.#speak(id);
    this.runtime.onAssign = (id) => this.#speak(id);
    this.runtime.onEnd = (id) => this.#letGo(id);
    const events = new EventLog(this.store.events, systemClock, log, inCommandWords);
    const registry = new NodeRegistry(scripted(this.store.nodes, this.script), events, systemClock);
    this.context = {
      registry,
      causes: new SharedCauses({
        bus: this.bus,
        network: this.network,
        events,
        clock: systemClock,
        log,
        forgive: (settleMs) => {
          registry.forgiveSilence(settleMs);
        },
      }),
      metrics: new MetricsHistory(),
      files: this.store.files,
      replicas: this.store.replicas,
      hostings: hostings(
        fakeHosting({
          settings: this.settings,
          runtime: this.runtime,
          network: this.network,
          volumes: this.volumes,
          images: imagesWith('base', this.script),
          logs: new FakeLogWriters(),
        }),
      ),
      bus: this.bus,
      events,
      clock: systemClock,
      log,
      settings: this.settings,
      tokenPublicKey: Buffer.alloc(32),
      hostMemoryBytes: 8 * GIB,
      hostRoom: new HostRoom({ places: {}, volumes: () => [], fullPercent: 90 }),
      guests: { leave: async () => undefined },
    };
    this.service = new NodeService(this.context);
  }

  /** With records as an earlier controller has left them. */
  static async open(records: readonly NodeRecord[] = []): Promise<NodeBench> {
    const bench = new NodeBench();
    for (const record of records) await bench.store.nodes.reserve(record.hosting.slot + 1, () => record);
    await bench.context.registry.load();
    await bench.network.prepare();
    await bench.bus.start(new NodeWatch(bench.service));
    bench.script.calls.length = 0;
    return bench;
  }

  /** What the host has of a node, by kind; and whether the store knows it. */
  leftOf({ id, hosting }: NodeRecord): string[] {
    const kinds: Readonly<Record<string, boolean>> = {
      container: this.runtime.containers.has(id),
      link: this.network.links.has(hosting.slot),
      volume: this.volumes.volumes.has(id),
      folder: existsSync(nodeRunDir(this.settings, id)),
      log: existsSync(nodeLog(this.settings, id)),
      record: this.context.registry.get(id) !== undefined,
    };
    return Object.keys(kinds).filter((kind) => kinds[kind]);
  }

  /** Makes a node's container as an earlier controller did, and tells the identity that its record should have. */
  async leaveContainer(record: NodeRecord): Promise<ProcessIdentity> {
    return await this.runtime.create(
      {
        nodeId: record.id,
        hostname: record.name,
        limits: { memoryBytes: 64 * MIB, cpuWeight: 100, pids: 64 },
        agentUid: 0,
        rootfs: '',
        volumePath: '',
        volumeUuid: '',
        loopDevice: volumePlaceOf(record).loopDevice,
        configDir: '',
        output: 1,
      },
      new AbortController().signal,
    );
  }

  async leaveVolume(record: NodeRecord): Promise<void> {
    const { id: nodeId, storageBytes: sizeBytes, hosting } = record;
    await this.volumes.create({ nodeId, sizeBytes, uuid: hosting.volumeUuid }, new AbortController().signal);
  }

  async dispose(): Promise<void> {
    await this.runtime.destroy();
    await this.store.close();
    rmSync(this.folder, { recursive: true });
  }

  #hold(id: NodeId): void {
    const container = this.runtime.containers.get(id);
    if (container !== undefined) this.volumes.attach(deviceOf(container.spec), id);
  }

  #speak(id: NodeId): void {
    if (!this.agentsSpeak) return;
    const link = this.bus.connect(id, async (command) => {
      this.asked.push(command);
      return this.agentsAnswer;
    });
    link.heartbeat(
      AgentHeartbeat.fromPartial({ nodeId: id, agentInstance: 'one', receiptPublicKey: Buffer.alloc(32) }),
    );
  }

  #letGo(id: NodeId): void {
    const container = this.runtime.containers.get(id);
    if (container !== undefined) this.volumes.release(deviceOf(container.spec));
  }
}

/** The store with its calls written into the script. */
function scripted(nodes: NodeStore, script: FakeScript): NodeStore {
  return {
    get: (id) => nodes.get(id),
    list: () => nodes.list(),
    reserve: (slots, make, held) => script.run('store.reserve', '', () => nodes.reserve(slots, make, held)),
    insert: (record) => script.run('store.insert', record.id, () => nodes.insert(record)),
    update: (id, patch) => script.run('store.update', id, () => nodes.update(id, patch)),
    remove: (id) => script.run('store.remove', id, () => nodes.remove(id)),
  };
}

function imagesWith(name: string, script: FakeScript): ImageStore {
  const notHere = (): Promise<never> => Promise.reject(new Error('the node verbs only look images up'));
  return {
    list: notHere,
    importTar: notHere,
    remove: notHere,
    build: notHere,
    ensureBase: notHere,
    sweep: notHere,
    rootfsOf: (wanted) => script.run('image.rootfsOf', wanted, () => `/fake/images/${name}`),
  };
}

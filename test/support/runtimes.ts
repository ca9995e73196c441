/**
 * Each implementation of the container runtime, prepared and empty, with a first stage that only waits; and how to see
 * from outside what it does. The contract suite runs over all of them.
 */
import { randomUUID } from 'node:crypto';
import { existsSync, openSync, readdirSync, readlinkSync } from 'node:fs';
import { chmod, copyFile, cp, mkdir, mkdtemp, rm, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { basename, join } from 'node:path';
import { FakeRuntime } from '../fakes/runtime.js';
import type { ContainerRuntime, ContainerSpec, ProcessIdentity } from '../../controller/hosting/runtime.js';
import { ProcessRuntime } from '../../controller/hosting/process/process-runtime.js';
import { layoutFor, OCI_PROGRAMS, type OciProgram } from '../../controller/hosting/contained/programs.js';
import { IDS_OF_RANGE } from '../../controller/hosting/contained/bundle.js';
import { ImageFileVolumes } from '../../controller/hosting/contained/image-file.js';
import { OciRuntime } from '../../controller/hosting/contained/oci-runtime.js';
import type { VolumePlace } from '../../controller/hosting/volumes.js';
import { instanceDefaults } from '../../shared/config/instance.js';
import { newNodeId, type NodeId } from '../../shared/ids.js';
import { MIB } from '../../shared/limits.js';
import { eventually, PROJECT } from './cluster.js';
import { PROGRAMS } from './commands.js';
import { residueOf, testInstance } from './residue.js';

export interface OpenedRuntime {
  readonly runtime: ContainerRuntime;
  /** Another controller's view of the same containers, as after a restart; `commandBeginMs`: one that waits so long. */
  reopen(commandBeginMs?: number): Promise<ContainerRuntime>;
  /** One whose host lacks what it needs. */
  readonly unfit: ContainerRuntime;
  /** Everything that a node's container needs is there afterwards. */
  newSpec(): Promise<ContainerSpec>;
  /** Whether the container's first process has begun the first stage. */
  runsFirstStage(nodeId: NodeId, identity: ProcessIdentity): boolean;
  /** Paths of the node's container on the host. */
  leftOf(nodeId: NodeId): string[];
  /** Paths on the host of commands in the node. */
  commandsOf(nodeId: NodeId): string[];
  /** Limits and terminals are real. */
  readonly isContained: boolean;
  /** What is left on the host after all is over. */
  dispose(): Promise<string[]>;
}

export interface RuntimeVariant {
  readonly name: string;
  readonly needsRoot: boolean;
  open(): Promise<OpenedRuntime>;
}

export interface CreatedContainer {
  readonly spec: ContainerSpec;
  readonly id: NodeId;
  readonly identity: ProcessIdentity;
}

export async function createIn({ runtime, newSpec }: OpenedRuntime): Promise<CreatedContainer> {
  const spec = await newSpec();
  return { spec, id: spec.nodeId, identity: await runtime.create(spec, new AbortController().signal) };
}

/** Resolves once its first stage is seen to run. */
export async function startIn(opened: OpenedRuntime): Promise<CreatedContainer> {
  const created = await createIn(opened);
  await opened.runtime.start(created.id, new AbortController().signal);
  await eventually(
    () => opened.runsFirstStage(created.id, created.identity),
    (runs) => runs,
  );
  return created;
}

const NOWHERE = openSync('/dev/null', 'w');

interface Bench {
  readonly instance: string;
  readonly folder: string;
  readonly runDir: string;
  newSpec(rootfs: string): Promise<ContainerSpec>;
  /** Ends whatever the test has left behind and tells what still is there. */
  dispose(runtime: ContainerRuntime): Promise<string[]>;
}

/** The folder's name holds the instance's, so that processes and mounts on it are found as residue. */
async function openBench(): Promise<Bench> {
  const instance = testInstance();
  const folder = await mkdtemp(join(tmpdir(), `nexus-${instance}-`));
  await chmod(folder, 0o755);
  const runDir = join(folder, 'run');
  await mkdir(runDir, { mode: 0o755 });
  const volumes = new ImageFileVolumes(join(folder, 'volumes'));
  const places: VolumePlace[] = [];
  let slots = 0;
  const newSpec = async (rootfs: string): Promise<ContainerSpec> => {
    const nodeId = newNodeId();
    const configDir = join(runDir, nodeId, 'config');
    const volumeUuid = randomUUID();
    await mkdir(configDir, { recursive: true });
    // Without images, nodes have a folder.
    if (rootfs === '') await mkdir(volumes.pathOf(nodeId), { recursive: true });
    else await volumes.create({ nodeId, sizeBytes: 16 * MIB, uuid: volumeUuid }, AbortSignal.timeout(60_000));
    slots += 1;
    const loopDevice = instanceDefaults(instance, 'runc', 0).loopBase + slots;
    if (rootfs !== '') places.push({ nodeId, loopDevice });
    return {
      nodeId,
      hostname: `host-${nodeId}`,
      limits: { memoryBytes: 64 * MIB, cpuWeight: 100, pids: 32 },
      agentUid: 799_000 + slots,
      firstId: 0x6000_0000 + (slots + 8 * (process.pid % 512)) * IDS_OF_RANGE,
      rootfs,
      volumePath: volumes.pathOf(nodeId),
      volumeUuid,
      loopDevice,
      configDir,
      output: NOWHERE,
    };
  };
  return {
    instance,
    folder,
    runDir,
    newSpec,
    dispose: async (runtime) => {
      for (const id of await runtime.list()) await runtime.remove(id);
      for (const place of places) await volumes.waitReleased(place);
      await volumes.settled();
      await runtime.destroy();
      const left = residueOf(instance);
      await rm(folder, { recursive: true, force: true });
      return left;
    },
  };
}

const programOf = ({ pid }: ProcessIdentity): string => readlinkSync(`/proc/${pid}/exe`);

const inMemory: RuntimeVariant = {
  name: 'in memory',
  needsRoot: false,
  open: async () => {
    const bench = await openBench();
    const runtime = new FakeRuntime();
    for (const [command, program] of PROGRAMS) runtime.programs.set(command, program);
    const unfit = new FakeRuntime();
    unfit.hostIsUnfit = true;
    return {
      runtime,
      unfit,
      reopen: async () => runtime,
      newSpec: () => bench.newSpec(''),
      runsFirstStage: (nodeId) => runtime.containers.get(nodeId)?.hasStarted === true,
      leftOf: (nodeId) => (runtime.containers.has(nodeId) ? ['container'] : []),
      commandsOf: () => [],
      isContained: true,
      dispose: () => bench.dispose(runtime),
    };
  },
};

const plainProcess: RuntimeVariant = {
  name: 'process',
  needsRoot: false,
  open: async () => {
    const bench = await openBench();
    const agentScript = join(bench.folder, 'agent.cjs');
    await writeFile(agentScript, 'setInterval(() => undefined, 1000);');
    const make = (script: string): ProcessRuntime => new ProcessRuntime({ runDir: bench.runDir, agentScript: script });
    const runtime = make(agentScript);
    return {
      runtime,
      unfit: make(join(bench.folder, 'absent.cjs')),
      reopen: async () => make(agentScript),
      newSpec: () => bench.newSpec(''),
      runsFirstStage: (_nodeId, identity) => programOf(identity) === process.execPath,
      leftOf: (nodeId) => filesBeside('config', join(bench.runDir, nodeId)),
      commandsOf: () => [],
      isContained: false,
      dispose: () => bench.dispose(runtime),
    };
  },
};

const contained = (program: OciProgram): RuntimeVariant => ({
  name: program.name,
  needsRoot: true,
  open: async () => {
    const bench = await openBench();
    const cgroupParent = `/nexus-${bench.instance}`;
    const rootfs = await waitingRoot(bench.folder);
    const make = (runtimeDir: string, commandBeginMs?: number): Promise<OciRuntime> =>
      OciRuntime.open({
        ...(commandBeginMs === undefined ? {} : { commandBeginMs }),
        program,
        runDir: bench.runDir,
        cgroupParent,
        runtimeDir,
        stageProgram: join(PROJECT, 'dist', 'node-stage'),
      });
    const runtimeDir = join(bench.folder, 'rt');
    const runtime = await make(runtimeDir);
    return {
      runtime,
      unfit: await make(join(bench.folder, 'absent')),
      reopen: (commandBeginMs) => make(runtimeDir, commandBeginMs),
      newSpec: () => bench.newSpec(rootfs),
      runsFirstStage: (_nodeId, identity) => programOf(identity).includes('/bin/init'),
      leftOf: (nodeId) => [
        ...filesBeside('config', join(bench.runDir, nodeId)),
        ...filesBeside('', join(bench.runDir, `${program.name}.state`)).filter((path) => path.endsWith(nodeId)),
        ...cgroupsOf(`${cgroupParent}/${nodeId}`),
      ],
      commandsOf: (nodeId) =>
        [
          ...filesBeside('', join(bench.runDir, nodeId, 'bundle')),
          ...cgroupsOf(`${cgroupParent}/${nodeId}/commands`).flatMap((folder) =>
            readdirSync(folder).map((name) => join(folder, name)),
          ),
        ].filter((path) => basename(path).startsWith('exec-')),
      isContained: true,
      dispose: () => bench.dispose(runtime),
    };
  },
});

/** The runtime folder with an agent that only waits; returns an image of nothing but busybox. */
async function waitingRoot(folder: string): Promise<string> {
  const built = join(PROJECT, 'dist', 'runtime');
  const runtime = join(folder, 'rt');
  await cp(built, runtime, { recursive: true, verbatimSymlinks: true });
  await writeFile(join(runtime, 'agent.cjs'), 'setInterval(() => undefined, 1000);');
  const rootfs = join(folder, 'image');
  await mkdir(join(rootfs, 'bin'), { recursive: true });
  await copyFile(join(built, 'bin', 'busybox'), join(rootfs, 'bin', 'busybox'));
  for (const name of ['sh', 'cat', 'sleep', 'stty']) await symlink('busybox', join(rootfs, 'bin', name));
  return rootfs;
}

const filesBeside = (expected: string, folder: string): string[] =>
  (existsSync(folder) ? readdirSync(folder) : []).filter((name) => name !== expected).map((name) => join(folder, name));

function cgroupsOf(path: string): string[] {
  const root = '/sys/fs/cgroup';
  const hierarchies = [root, ...readdirSync(root).map((name) => join(root, name))];
  return hierarchies.map((hierarchy) => join(hierarchy, path)).filter((folder) => existsSync(folder));
}

/** Programs that refuse this host are left out; the machine of test/vm takes all. */
const fitting = await Promise.all(
  Object.values<OciProgram>(OCI_PROGRAMS).map((program) =>
    layoutFor(program).then(
      () => [program],
      () => [],
    ),
  ),
);

export const RUNTIMES: readonly RuntimeVariant[] = [inMemory, plainProcess, ...fitting.flat().map(contained)];

/** Each kind of volume, new and empty, and hands that take and release one as a node's first stage does. */
import { existsSync, readdirSync } from 'node:fs';
import { mkdtemp, rm, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { DirectoryVolumes } from '../../controller/hosting/process/directory.js';
import { FakeVolumes } from '../fakes/volumes.js';
import { ImageFileVolumes } from '../../controller/hosting/contained/image-file.js';
import type { VolumeProvisioner } from '../../controller/hosting/volumes.js';
import { instanceDefaults } from '../../shared/config/instance.js';
import { runCommand } from '../../shared/exec.js';
import type { NodeId } from '../../shared/ids.js';
import { MIB } from '../../shared/limits.js';
import { residueOf, testInstance } from './residue.js';

/** Attaching by loop device, as a node does and as somebody else might. */
export interface LoopHands {
  attach(loopDevice: number, nodeId: NodeId): Promise<void>;
  /** A file that is no volume. */
  attachForeign(loopDevice: number): Promise<void>;
  release(loopDevice: number): Promise<void>;
}

export interface OpenedVolumes {
  readonly volumes: VolumeProvisioner;
  /** First of a few devices that are the test's own. */
  readonly loopBase: number;
  readonly hands: LoopHands;
  /** Names of what is stored. */
  stored(): string[];
  /** Detaches what the test has left attached. */
  releaseAll(): Promise<void>;
  /** Bytes that the volume takes on the host. */
  takenBytes(nodeId: NodeId): Promise<number>;
  dispose(): Promise<string[]>;
}

export interface VolumeVariant {
  readonly name: string;
  readonly needsRoot: boolean;
  readonly usesLoopDevices: boolean;
  open(): Promise<OpenedVolumes>;
}

const inMemory: VolumeVariant = {
  name: 'in memory',
  needsRoot: false,
  usesLoopDevices: true,
  open: async () => {
    const volumes = new FakeVolumes();
    return {
      volumes,
      loopBase: 100,
      hands: {
        attach: async (device, nodeId) => volumes.attach(device, nodeId),
        attachForeign: async (device) => volumes.attach(device, 'foreign'),
        release: async (device) => volumes.release(device),
      },
      stored: () => [...volumes.volumes.keys()],
      takenBytes: async () => 0,
      releaseAll: async () => undefined,
      dispose: async () => [],
    };
  },
};

const directory: VolumeVariant = {
  name: 'directory',
  needsRoot: false,
  usesLoopDevices: false,
  open: async () => {
    const folder = await mkdtemp(join(tmpdir(), 'nexus-volumes-'));
    const inUse = async (): Promise<void> => {
      throw new Error('folders are not attached');
    };
    return {
      volumes: new DirectoryVolumes(join(folder, 'volumes')),
      loopBase: -1,
      hands: { attach: inUse, attachForeign: inUse, release: inUse },
      stored: () => filesIn(join(folder, 'volumes')),
      takenBytes: async () => 0,
      releaseAll: async () => undefined,
      dispose: async () => {
        await rm(folder, { recursive: true });
        return [];
      },
    };
  },
};

const imageFile: VolumeVariant = {
  name: 'image file',
  needsRoot: true,
  usesLoopDevices: true,
  open: async () => {
    const instance = testInstance();
    const folder = await mkdtemp(join(tmpdir(), `nexus-${instance}-`));
    const { loopBase } = instanceDefaults(instance, 'runc', 0);
    const volumes = new ImageFileVolumes(join(folder, 'volumes'));
    const attached = new Set<number>();
    const losetup = async (loopDevice: number, path: string): Promise<void> => {
      await runCommand('losetup', [`/dev/loop${loopDevice}`, path]);
      attached.add(loopDevice);
    };
    const release = async (loopDevice: number): Promise<void> => {
      await runCommand('losetup', ['--detach', `/dev/loop${loopDevice}`]);
      attached.delete(loopDevice);
    };
    return {
      volumes,
      loopBase,
      hands: {
        attach: (device, nodeId) => losetup(device, volumes.pathOf(nodeId)),
        attachForeign: async (device) => {
          const path = join(folder, `foreign-${device}`);
          await writeFile(path, Buffer.alloc(MIB));
          await losetup(device, path);
        },
        release,
      },
      stored: () => filesIn(join(folder, 'volumes')),
      releaseAll: async () => {
        for (const device of attached) await release(device);
      },
      takenBytes: async (nodeId) => (await stat(volumes.pathOf(nodeId))).blocks * 512,
      dispose: async () => {
        await volumes.settled();
        const left = residueOf(instance);
        await rm(folder, { recursive: true });
        return left;
      },
    };
  },
};

const filesIn = (folder: string): string[] => (existsSync(folder) ? readdirSync(folder) : []);

export const VOLUMES: readonly VolumeVariant[] = [inMemory, directory, imageFile];

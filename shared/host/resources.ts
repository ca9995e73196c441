/** Checks the host's room and limits, and the results of the set-up: runtime folder, base image, root. */
import { join } from 'node:path';
import { GIB, MIB } from '../limits.js';
import { failed, passed, type HostCheck, type ProbeInput } from './report.js';

export async function probeResources(input: ProbeInput): Promise<HostCheck[]> {
  return await Promise.all([freeDisk(input), freeMemory(input), openFiles(input), inotify(input)]);
}

/** Checks that matter only to real containers. */
export async function probeSetUp(input: ProbeInput): Promise<HostCheck[]> {
  return await Promise.all([root(input), agentRuntime(input), baseImage(input)]);
}

/** Room for databases, images and a first volume; volumes are sparse and grow towards their size. */
const LEAST_DISK_BYTES = GIB;
/** Enough for the controller, NATS and a handful of agents. */
const LEAST_MEMORY_BYTES = 512 * MIB;
/** A node costs the controller a few descriptors, and a child may not raise the hard limit. */
const LEAST_OPEN_FILES = 4096;
const LEAST_INOTIFY_INSTANCES = 128;

async function freeDisk({ settings, sources }: ProbeInput): Promise<HostCheck> {
  const { freeBytes, isInMemory } = await sources.disk(settings.stateDir);
  const found = `${gibibytes(freeBytes)} free for ${settings.stateDir}${isInMemory ? ', in memory (tmpfs)' : ''}`;
  if (freeBytes >= LEAST_DISK_BYTES && isInMemory)
    return passed('disk', found, 'a tmpfs that is full loses what volumes write, without an error: for trials only');
  if (freeBytes >= LEAST_DISK_BYTES) return passed('disk', found);
  return failed('disk', found, 'make room, or set state-dir (NEXUS_STATE_DIR) to a folder on a larger disk');
}

async function freeMemory({ sources }: ProbeInput): Promise<HostCheck> {
  const text = (await sources.readText('/proc/meminfo')) ?? '';
  const kibibytes = Number(/^MemAvailable:\s+(\d+) kB/m.exec(text)?.[1] ?? 0);
  const found = `${gibibytes(kibibytes * 1024)} available`;
  if (kibibytes * 1024 >= LEAST_MEMORY_BYTES) return passed('memory', found);
  return failed('memory', found, `end something: ${LEAST_MEMORY_BYTES / MIB} MiB are needed for a small cluster`);
}

async function openFiles({ sources }: ProbeInput): Promise<HostCheck> {
  const text = (await sources.readText('/proc/self/limits')) ?? '';
  const limit = /^Max open files\s+\S+\s+(\S+)/m.exec(text)?.[1] ?? '0';
  const found = `at most ${limit} a process`;
  if (limit === 'unlimited' || Number(limit) >= LEAST_OPEN_FILES) return passed('open files', found);
  return failed('open files', found, `raise the hard limit to ${LEAST_OPEN_FILES} or more: ulimit -Hn, limits.conf`);
}

async function inotify({ sources }: ProbeInput): Promise<HostCheck> {
  const limit = Number((await sources.readText('/proc/sys/fs/inotify/max_user_instances')) ?? 0);
  const found = `up to ${limit} instances a user`;
  if (limit >= LEAST_INOTIFY_INSTANCES) return passed('inotify', found);
  return failed('inotify', found, `sysctl fs.inotify.max_user_instances=${LEAST_INOTIFY_INSTANCES}`);
}

const gibibytes = (bytes: number): string => `${(bytes / GIB).toFixed(1)} GiB`;

async function root({ sources }: ProbeInput): Promise<HostCheck> {
  if (sources.uid === 0) return passed('root', 'running as root');
  const silent = await sources.run('sudo', ['-n', 'true']);
  if (silent?.exitCode === 0) return passed('root', 'through sudo');
  if (silent !== undefined) return passed('root', 'through sudo, which asks for a password');
  return failed('root', 'no sudo', 'run nexus as root, or install sudo; without root: nexus up --runtime process');
}

const SET_UP = 'run: nexus up (or deploy/bootstrap.sh)';

async function agentRuntime({ sources, projectRoot }: ProbeInput): Promise<HostCheck> {
  const folder = join(projectRoot, 'dist', 'runtime');
  const there = await Promise.all(['bin/node', 'agent.cjs'].map((file) => sources.exists(join(folder, file))));
  if (there.every(Boolean)) return passed('agent runtime', folder);
  return failed('agent runtime', 'not built', SET_UP);
}

async function baseImage({ settings, sources, projectRoot }: ProbeInput): Promise<HostCheck> {
  const unpacked = join(settings.stateDir, 'images', 'base');
  if (await sources.exists(unpacked)) return passed('base image', unpacked);
  const folder = join(projectRoot, '.cache');
  const tar = (await sources.list(folder)).find((name) => /^base-image.*\.tar$/.test(name));
  if (tar !== undefined) return passed('base image', join(folder, tar));
  return failed('base image', 'not built', SET_UP);
}

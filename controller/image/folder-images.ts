/**
 * Images as folders. An image is unpacked beside its place and renamed into it, so that it is whole or absent. Device
 * nodes are never unpacked: a node gets its devices from the runtime alone.
 */
import { randomBytes } from 'node:crypto';
import { existsSync } from 'node:fs';
import { lstat, mkdir, readdir, readFile, rename, rm, stat, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { Readable } from 'node:stream';
import { z } from 'zod';
import { systemClock } from '../../shared/async/clock.js';
import { NexusError } from '../../shared/errors.js';
import { runCommand, tryCommand } from '../../shared/exec.js';
import { LABEL_PATTERN, LABEL_RULE } from '../../shared/ids.js';
import { KIB, LARGEST_NODE_ID } from '../../shared/limits.js';
import { plainText } from '../../shared/plain-text.js';
import { toolFailure } from '../../shared/tool-failure.js';
import { BASE_IMAGE, type ImageRecord, type ImageStore } from './port.js';
import { unpack, unpackFile } from './unpack.js';
import { removeUnlinked, unpackShared } from './unpacked-archive.js';

export interface FolderImagesOptions {
  readonly folder: string;
  /** Folder with the prepared base image, base-image-<release>.tar, and the script that makes one. */
  readonly cacheDir: string;
  /** Folder that instances of this host share, with the prepared image's tree. */
  readonly sharedDir: string;
  readonly buildScript: string;
}

/** Folders that an image needs as mount points before it can be a read-only root. */
const MOUNT_POINTS = ['proc', 'dev', 'sys', 'tmp', 'data', 'mnt', '.nexus'] as const;

const BUILD_TIMEOUT_MS = 10 * 60 * 1000;
const MANIFEST = 'image.json';
/** Beside the manifest of an image all of whose files have owners that nodes have. Version 0.1 took any. */
const HAS_OWNERS_OF_NODES = 'owners-of-nodes';
const MAX_MANIFEST_BYTES = 64 * KIB;
/** The last moment that a Date can hold. */
const LAST_MS = 8.64e15;

const manifestSchema = z.object({
  sizeBytes: z.int().min(0),
  createdAt: z.int().min(0).max(LAST_MS),
  os: z.string().max(1000),
  leftOut: z.string().max(10_000).optional(),
});

/** Pure. An image with a malformed manifest is listed all the same: nodes need nothing but its root file system. */
export function readManifest(name: string, text: string): ImageRecord {
  const known = manifestSchema.safeParse(parseJson(text));
  if (known.success) return { name, ...known.data };
  const problem = `its ${MANIFEST} is damaged; remove the image and import it again`;
  return { name, sizeBytes: 0, createdAt: 0, os: '', problem };
}

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}

export class FolderImages implements ImageStore {
  constructor(private readonly options: FolderImagesOptions) {}

  async list(): Promise<readonly ImageRecord[]> {
    const names: string[] = await readdir(this.options.folder).catch(() => []);
    const records = await Promise.all(names.filter((name) => LABEL_PATTERN.test(name)).map((name) => this.#read(name)));
    return records.filter((record) => record !== undefined).sort((a, b) => a.name.localeCompare(b.name));
  }

  async rootfsOf(name: string): Promise<string> {
    const rootfs = join(this.#folderOf(name), 'rootfs');
    if (LABEL_PATTERN.test(name) && (await this.#read(name)) !== undefined) return rootfs;
    throw new NexusError('not_found', `there is no image "${name}"`, {}, { advice: { key: 'list-images' } });
  }

  async importTar(name: string, tar: Readable, signal: AbortSignal): Promise<ImageRecord> {
    return await this.#import(name, (into) => unpack(tar, into, signal));
  }

  /** `unpackInto` returns what was left out. */
  async #import(name: string, unpackInto: (rootfs: string) => Promise<string>): Promise<ImageRecord> {
    if (!LABEL_PATTERN.test(name)) throw new NexusError('invalid_argument', `an image's name must be ${LABEL_RULE}`);
    if ((await this.#read(name)) !== undefined) {
      throw new NexusError('already_exists', `image ${name} exists; remove it first or choose another name`);
    }
    const partial = join(this.options.folder, `.${name}.${randomBytes(4).toString('hex')}`);
    try {
      await mkdir(join(partial, 'rootfs'), { recursive: true, mode: 0o755 });
      const leftOut = await unpackInto(join(partial, 'rootfs'));
      const record = await this.#finish(name, partial, leftOut);
      await this.#publish(name, partial);
      return record;
    } finally {
      await rm(partial, { recursive: true, force: true }).catch(() => undefined);
    }
  }

  async remove(name: string): Promise<void> {
    if (!LABEL_PATTERN.test(name)) return;
    const doomed = join(this.options.folder, `.${name}.${randomBytes(4).toString('hex')}`);
    try {
      await rename(this.#folderOf(name), doomed);
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code === 'ENOENT') return;
      throw error;
    }
    // The rename has removed it already; files that can't be deleted now are left to the sweep of the next start.
    await rm(doomed, { recursive: true, force: true }).catch(() => undefined);
  }

  async build(name: string, progress: (line: string) => void, signal: AbortSignal): Promise<ImageRecord> {
    const output = join(this.options.folder, `.${name}.${randomBytes(4).toString('hex')}.tar`);
    await mkdir(this.options.folder, { recursive: true, mode: 0o755 });
    try {
      progress(`making a root file system for image ${name}; this takes a few seconds`);
      const args = [this.options.buildScript, '--force', '--output', output];
      const { exitCode, stdout, stderr } = await tryCommand('bash', args, { timeoutMs: BUILD_TIMEOUT_MS, signal });
      if (exitCode !== 0) throw notBuilt(name, exitCode, stderr);
      for (const line of stdout.trim().split('\n').filter(Boolean)) progress(line);
      return await this.#import(name, (into) => unpackFile(output, into, signal));
    } finally {
      await rm(output, { force: true }).catch(() => undefined);
    }
  }

  async ensureBase(): Promise<void> {
    await this.#sweepPartial();
    for (const { name } of await this.list()) {
      // The next start tries again; until then, nodes have such files without any use of them.
      await takeOver(this.#folderOf(name)).catch(() => undefined);
    }
    if ((await this.#read(BASE_IMAGE)) !== undefined) return;
    const names: string[] = await readdir(this.options.cacheDir).catch(() => []);
    const prepared = names
      .filter((name) => /^base-image-[a-z]+\.tar$/.test(name))
      .sort()
      .at(-1);
    // Without a base image the cluster works with imported images; `nexus image build` makes it later.
    if (prepared === undefined) return;
    const path = join(this.options.cacheDir, prepared);
    const { signal } = new AbortController();
    await this.#import(BASE_IMAGE, (into) => unpackShared(path, into, this.options.sharedDir, signal));
  }

  async sweep(): Promise<void> {
    await removeUnlinked(this.options.sharedDir);
  }

  #folderOf(name: string): string {
    return join(this.options.folder, name);
  }

  async #read(name: string): Promise<ImageRecord | undefined> {
    const path = join(this.#folderOf(name), MANIFEST);
    const found = await stat(path).catch(() => undefined);
    if (found === undefined) return undefined;
    const text = found.size > MAX_MANIFEST_BYTES ? '' : await readFile(path, 'utf8').catch(() => '');
    return readManifest(name, text);
  }

  async #finish(name: string, partial: string, leftOut: string): Promise<ImageRecord> {
    const rootfs = join(partial, 'rootfs');
    if ((await readdir(rootfs)).length === 0) throw new NexusError('invalid_argument', 'the archive is empty');
    for (const place of MOUNT_POINTS) await makeMountPoint(rootfs, place);
    await takeOver(partial);
    const record: ImageRecord = {
      name,
      sizeBytes: await sizeOf(rootfs),
      createdAt: systemClock.now(),
      os: await osName(rootfs),
      leftOut,
    };
    await writeFile(join(partial, MANIFEST), JSON.stringify(record), { flush: true });
    return record;
  }

  async #publish(name: string, partial: string): Promise<void> {
    try {
      await rename(partial, this.#folderOf(name));
    } catch (error) {
      throw new NexusError('already_exists', `image ${name} was made by someone else meanwhile`, {}, { cause: error });
    }
  }

  /** Removes what interrupted imports and removals left. */
  async #sweepPartial(): Promise<void> {
    const names: string[] = await readdir(this.options.folder).catch(() => []);
    for (const name of names.filter((candidate) => candidate.startsWith('.'))) {
      await rm(join(this.options.folder, name), { recursive: true, force: true });
    }
  }
}

/** Rejects links: one at a mount point would lead the runtime out of the image. Code: invalid_argument. */
async function makeMountPoint(rootfs: string, place: string): Promise<void> {
  const path = join(rootfs, place);
  const found = await lstat(path).catch(() => undefined);
  if (found === undefined) await mkdir(path, { mode: 0o755 });
  else if (!found.isDirectory()) throw new NexusError('invalid_argument', `/${place} in the archive is not a folder`);
}

/** Shows the last line if deploy/base-image.sh wrote it: its lines are meant for people, those of its tools are not. */
function notBuilt(name: string, exitCode: number, said: string): NexusError {
  const error = toolFailure(`image ${name} cannot be built`, { program: 'base-image.sh', exitCode, said });
  const own = /^base image: (.+)$/.exec(said.trim().split('\n').at(-1) ?? '')?.[1];
  if (own === undefined || error.code === 'resource_exhausted') return error;
  const message = `image ${name} cannot be built: ${plainText(own)}`;
  return new NexusError('failed_precondition', message, error.details, { cause: error.cause });
}

/** Gives files to nobody that could be neither read nor changed nor removed in a node, whose ids they are not. */
async function takeOver(image: string): Promise<void> {
  const mark = join(image, HAS_OWNERS_OF_NODES);
  // A user other than root has unpacked everything as their own.
  if (process.getuid?.() !== 0 || existsSync(mark)) return;
  const give = (which: string, program: string): string[] => [
    '(',
    which,
    `+${LARGEST_NODE_ID}`,
    '-exec',
    program,
    '-h',
    String(LARGEST_NODE_ID),
    '{}',
    '+',
    ')',
  ];
  await runCommand('find', [join(image, 'rootfs'), '-xdev', ...give('-uid', 'chown'), ',', ...give('-gid', 'chgrp')], {
    failure: 'the owners of its files cannot be changed',
    timeoutMs: BUILD_TIMEOUT_MS,
  });
  await writeFile(mark, '');
}

async function sizeOf(folder: string): Promise<number> {
  const { stdout } = await runCommand('du', ['--summarize', '--bytes', '--one-file-system', folder], {
    failure: 'the size of the image cannot be measured',
  });
  return Number(stdout.split('\t')[0]);
}

async function osName(rootfs: string): Promise<string> {
  for (const path of ['etc/os-release', 'usr/lib/os-release']) {
    const file = join(rootfs, path);
    const found = await lstat(file).catch(() => undefined);
    // A link could lead out of the image into the host's own file.
    if (found?.isFile() !== true || (await stat(file)).size > 65_536) continue;
    return /^PRETTY_NAME="?([^"\n]*)"?$/m.exec(await readFile(file, 'utf8'))?.[1] ?? '';
  }
  return '';
}

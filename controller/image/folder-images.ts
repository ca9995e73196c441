/**
 * Images as folders. One is unpacked beside its place and renamed into it, so that an image is whole or not there.
 * Device nodes are never unpacked: a node gets its devices from the runtime alone.
 */
import { spawn } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { createReadStream } from 'node:fs';
import { lstat, mkdir, readdir, readFile, rename, rm, stat, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { createGunzip } from 'node:zlib';
import { NexusError } from '../../shared/errors.js';
import { exitCodeOf, runCommand } from '../../shared/exec.js';
import { LABEL_PATTERN, LABEL_RULE } from '../../shared/ids.js';
import { OmissionListing } from './omissions.js';
import { IMAGE_MOUNT_POINTS } from '../runtime/bundle.js';
import type { ImageRecord, ImageStore } from './port.js';

export const BASE_IMAGE = 'base';

export interface FolderImagesOptions {
  readonly folder: string;
  /** Folder with the prepared base image, base-image-<release>.tar, and the script that makes one. */
  readonly cacheDir: string;
  readonly buildScript: string;
}

const BUILD_TIMEOUT_MS = 10 * 60 * 1000;

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
    throw new NexusError(
      'not_found',
      `there is no image "${name}"; nexus image ls lists them, nexus image import adds one`,
    );
  }

  async importTar(name: string, tar: Readable, signal: AbortSignal): Promise<ImageRecord> {
    if (!LABEL_PATTERN.test(name)) throw new NexusError('invalid_argument', `an image's name must be ${LABEL_RULE}`);
    if ((await this.#read(name)) !== undefined) {
      throw new NexusError('already_exists', `image ${name} exists; remove it first or choose another name`);
    }
    const partial = join(this.options.folder, `.${name}.${randomBytes(4).toString('hex')}`);
    try {
      await mkdir(join(partial, 'rootfs'), { recursive: true, mode: 0o755 });
      const leftOut = await unpack(tar, join(partial, 'rootfs'), signal);
      const record = await this.#finish(name, partial, leftOut);
      await this.#publish(name, partial);
      return record;
    } finally {
      await rm(partial, { recursive: true, force: true });
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
    // It is removed by its new name already; what can't be deleted now the sweep of the next start takes.
    await rm(doomed, { recursive: true, force: true }).catch(() => undefined);
  }

  async build(name: string, progress: (line: string) => void, signal: AbortSignal): Promise<ImageRecord> {
    const output = join(this.options.folder, `.${name}.${randomBytes(4).toString('hex')}.tar`);
    await mkdir(this.options.folder, { recursive: true, mode: 0o755 });
    try {
      progress(`making a root file system for image ${name}; this takes a few seconds`);
      const args = [this.options.buildScript, '--force', '--output', output];
      const { stdout } = await runCommand('bash', args, { timeoutMs: BUILD_TIMEOUT_MS, signal });
      for (const line of stdout.trim().split('\n').filter(Boolean)) progress(line);
      return await this.importTar(name, createReadStream(output), signal);
    } finally {
      await rm(output, { force: true });
    }
  }

  async ensureBase(): Promise<void> {
    await this.#sweepPartial();
    if ((await this.#read(BASE_IMAGE)) !== undefined) return;
    const names: string[] = await readdir(this.options.cacheDir).catch(() => []);
    const prepared = names
      .filter((name) => /^base-image-[a-z]+\.tar$/.test(name))
      .sort()
      .at(-1);
    // Without it the cluster works with imported images; `nexus image build` makes the base image later.
    if (prepared === undefined) return;
    await this.importTar(
      BASE_IMAGE,
      createReadStream(join(this.options.cacheDir, prepared)),
      new AbortController().signal,
    );
  }

  #folderOf(name: string): string {
    return join(this.options.folder, name);
  }

  async #read(name: string): Promise<ImageRecord | undefined> {
    const text = await readFile(join(this.#folderOf(name), 'image.json'), 'utf8').catch(() => undefined);
    return text === undefined ? undefined : (JSON.parse(text) as ImageRecord);
  }

  async #finish(name: string, partial: string, leftOut: string): Promise<ImageRecord> {
    const rootfs = join(partial, 'rootfs');
    if ((await readdir(rootfs)).length === 0) throw new NexusError('invalid_argument', 'the archive is empty');
    for (const place of IMAGE_MOUNT_POINTS) await makeMountPoint(rootfs, place);
    const record: ImageRecord = {
      name,
      sizeBytes: await sizeOf(rootfs),
      createdAt: Date.now(),
      os: await osName(rootfs),
      leftOut,
    };
    await writeFile(join(partial, 'image.json'), JSON.stringify(record), { flush: true });
    return record;
  }

  async #publish(name: string, partial: string): Promise<void> {
    try {
      await rename(partial, this.#folderOf(name));
    } catch (error) {
      throw new NexusError('already_exists', `image ${name} was made by someone else meanwhile`, {}, { cause: error });
    }
  }

  /** What an import that was cut off left. */
  async #sweepPartial(): Promise<void> {
    const names: string[] = await readdir(this.options.folder).catch(() => []);
    for (const name of names.filter((candidate) => candidate.startsWith('.'))) {
      await rm(join(this.options.folder, name), { recursive: true, force: true });
    }
  }
}

/** A link where a mount point belongs would lead the runtime out of the image. */
async function makeMountPoint(rootfs: string, place: string): Promise<void> {
  const path = join(rootfs, place);
  const found = await lstat(path).catch(() => undefined);
  if (found === undefined) await mkdir(path, { mode: 0o755 });
  else if (!found.isDirectory()) throw new NexusError('invalid_argument', `/${place} in the archive is not a folder`);
}

/** What tar says besides the reason of its failure. */
const TAR_REMARK = /Removing leading|Exiting with failure/;
const TAR_IS_DONE: ReadonlySet<string> = new Set(['EPIPE', 'ERR_STREAM_PREMATURE_CLOSE']);
const UNPACK_TIMEOUT_MS = 10 * 60 * 1000;

/** Returns what was left out, for people. */
async function unpack(tar: Readable, into: string, signal: AbortSignal): Promise<string> {
  const peeked = await peek(tar, 6);
  const [decoder, program] = decoderOf(peeked.head);
  const args = [
    '--extract',
    '--numeric-owner',
    // Of the topmost folder alone: other folders of that name are the image's own.
    '--anchored',
    ...['./dev/*', 'dev/*', '/dev/*'].map((pattern) => `--exclude=${pattern}`),
    `--directory=${into}`,
    ...program,
  ];
  // Without CAP_MKNOD tar cannot make a device, wherever in the archive one hides.
  const child = spawn('setpriv', ['--bounding-set=-mknod', '--inh-caps=-all', 'tar', ...args], {
    stdio: ['pipe', 'ignore', 'pipe'],
    timeout: UNPACK_TIMEOUT_MS,
    signal,
  });
  let said = '';
  child.stderr.on('data', (data: Buffer) => {
    if (said.length < 4096) said += data.toString('utf8');
  });
  const ended = new Promise<number>((resolve, reject) => {
    child.once('error', reject);
    child.once('close', (code, name) => {
      resolve(exitCodeOf(code, name));
    });
  });
  const listing = new OmissionListing(program, signal);
  const listed = (source: AsyncIterable<string | Buffer>): AsyncGenerator<string | Buffer> => listing.listen(source);
  const fed =
    decoder === undefined
      ? pipeline(peeked.stream, listed, child.stdin)
      : pipeline(peeked.stream, decoder, listed, child.stdin);
  const [exitCode, feeding] = await Promise.all([
    ended,
    fed.then(
      () => undefined,
      (error: unknown) => error,
    ),
  ]);
  const feedingCode = (feeding as NodeJS.ErrnoException | undefined)?.code ?? '';
  if (feedingCode.startsWith('Z_')) {
    throw new NexusError('invalid_argument', 'the archive cannot be unpacked: its gzip stream is damaged or cut off');
  }
  if (exitCode !== 0) {
    const line =
      said
        .trim()
        .split('\n')
        .find((candidate) => !TAR_REMARK.test(candidate)) ?? '';
    throw new NexusError('invalid_argument', `the archive cannot be unpacked: ${line || 'it is not a tar archive'}`);
  }
  // tar may be done before its input is: what follows the end of an archive is padding.
  if (feeding !== undefined && !TAR_IS_DONE.has(feedingCode)) throw feeding as Error;
  return await listing.leftOut;
}

/** By magic number: gzip is undone here, xz and zstd by tar, which knows them when told. */
function decoderOf(head: Buffer): [NodeJS.ReadWriteStream | undefined, string[]] {
  if (head[0] === 0x1f && head[1] === 0x8b) return [createGunzip(), []];
  if (head.subarray(0, 6).equals(Buffer.from([0xfd, 0x37, 0x7a, 0x58, 0x5a, 0x00]))) return [undefined, ['--xz']];
  if (head.readUInt32BE(0) === 0x28b52ffd) return [undefined, ['--zstd']];
  return [undefined, []];
}

async function peek(stream: Readable, bytes: number): Promise<{ head: Buffer; stream: AsyncIterable<Buffer> }> {
  const iterator = stream[Symbol.asyncIterator]() as AsyncIterator<Buffer>;
  const parts: Buffer[] = [];
  let have = 0;
  while (have < bytes) {
    const next = await iterator.next();
    if (next.done === true) break;
    parts.push(next.value);
    have += next.value.length;
  }
  if (have < bytes) throw new NexusError('invalid_argument', 'the archive is empty or cut off');
  const head = Buffer.concat(parts);
  async function* whole(): AsyncGenerator<Buffer> {
    yield head;
    for (let next = await iterator.next(); next.done !== true; next = await iterator.next()) yield next.value;
  }
  return { head, stream: whole() };
}

async function sizeOf(folder: string): Promise<number> {
  const { stdout } = await runCommand('du', ['--summarize', '--bytes', '--one-file-system', folder]);
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

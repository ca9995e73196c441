/** Unpacks an image's archive with the host's tar, which is told what may not be in an image. */
import { createReadStream } from 'node:fs';
import { open } from 'node:fs/promises';
import type { Readable, Writable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { createGunzip } from 'node:zlib';
import { NexusError } from '../../shared/errors.js';
import { exitOf, notStarted, startChild } from '../../shared/exec.js';
import { toolFailure } from '../../shared/tool-failure.js';
import { OmissionListing } from './omissions.js';

/** Lines of tar beside the reason of its failure. */
const TAR_REMARK = /Removing leading|Exiting with failure/;
const MKNOD = /Cannot mknod/;
const TAR_IS_DONE: ReadonlySet<string> = new Set(['EPIPE', 'ERR_STREAM_PREMATURE_CLOSE']);
const UNPACK_TIMEOUT_MS = 10 * 60 * 1000;
/** Beginning of an archive that names its compression. */
const HEAD_BYTES = 6;

/** Returns what was left out, for people. Codes: invalid_argument (no usable archive), resource_exhausted (disk). */
export async function unpack(tar: Readable, into: string, signal: AbortSignal): Promise<string> {
  const peeked = await peek(tar, HEAD_BYTES);
  const [decoder, program] = decoderOf(peeked.head);
  const extraction = extract(into, program, signal);
  const listing = new OmissionListing(program, signal);
  const listed = (source: AsyncIterable<string | Buffer>): AsyncGenerator<string | Buffer> => listing.listen(source);
  const fed =
    decoder === undefined
      ? pipeline(peeked.stream, listed, extraction.stdin)
      : pipeline(peeked.stream, decoder, listed, extraction.stdin);
  const [exitCode, feeding] = await Promise.all([
    extraction.ended,
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
    throw notUnpacked(exitCode, extraction.said());
  }
  // tar may be done before its input is: what follows the end of an archive is padding.
  if (feeding !== undefined && !TAR_IS_DONE.has(feedingCode)) throw feeding as Error;
  return await listing.leftOut;
}

/** As `unpack`. tar reads a file by itself, and to list it passes over contents: a sixth of the time of a stream. */
export async function unpackFile(path: string, into: string, signal: AbortSignal): Promise<string> {
  const head = Buffer.alloc(HEAD_BYTES);
  await using file = await open(path);
  const { bytesRead } = await file.read(head, 0, HEAD_BYTES, 0);
  const [decoder, program] = decoderOf(head);
  if (decoder !== undefined || bytesRead < HEAD_BYTES) return await unpack(createReadStream(path), into, signal);
  // A colon in the path would else be the end of a host's name.
  const args = [...program, '--force-local', `--file=${path}`];
  const extraction = extract(into, args, signal);
  extraction.stdin.end();
  const listing = new OmissionListing(args, signal);
  const exitCode = await extraction.ended;
  if (exitCode !== 0) throw notUnpacked(exitCode, extraction.said());
  return await listing.leftOut;
}

interface Extraction {
  readonly stdin: Writable;
  /** Resolves with the exit code. */
  readonly ended: Promise<number>;
  /** The beginning of what tar has said. */
  readonly said: () => string;
}

/** `args`: what says where the archive is and how it is compressed. */
function extract(into: string, args: readonly string[], signal: AbortSignal): Extraction {
  const line = [
    '--extract',
    '--numeric-owner',
    // The topmost folder alone is meant: other folders of that name are the image's own.
    '--anchored',
    ...['./dev/*', 'dev/*', '/dev/*'].map((pattern) => `--exclude=${pattern}`),
    `--directory=${into}`,
    ...args,
  ];
  // Without CAP_MKNOD tar cannot make a device, wherever in the archive one hides.
  const child = startChild('setpriv', ['--bounding-set=-mknod', '--inh-caps=-all', 'tar', ...line], {
    stdio: ['pipe', 'ignore', 'pipe'],
    timeout: UNPACK_TIMEOUT_MS,
    signal,
  });
  let said = '';
  child.stderr.on('data', (data: Buffer) => {
    if (said.length < 4096) said += data.toString('utf8');
  });
  const ended = exitOf(child).catch((error: unknown) => {
    throw signal.aborted ? error : notStarted('setpriv', error as NodeJS.ErrnoException);
  });
  return { stdin: child.stdin, ended, said: () => said };
}

/** A full disk and the like are this machine's; everything else is the archive's. */
function notUnpacked(exitCode: number, said: string): NexusError {
  const failure = 'the archive cannot be unpacked';
  const lines = said.split('\n').filter((line) => !TAR_REMARK.test(line));
  const error = toolFailure(failure, { program: 'tar', exitCode, said: lines.join('\n') });
  if (error.code === 'resource_exhausted' || error.code === 'unavailable') return error;
  const why = MKNOD.test(said)
    ? 'it holds device files, which an image may not have outside /dev'
    : 'it is damaged, or no tar archive (plain, gzip, xz or zstd)';
  return new NexusError('invalid_argument', `${failure}: ${why}`, error.details, { cause: error.cause });
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

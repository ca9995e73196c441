/** Unpacks an image's archive with the host's tar, which is told what may not be in an image. */
import type { Readable } from 'node:stream';
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

/** Returns what was left out, for people. Codes: invalid_argument (no usable archive), resource_exhausted (disk). */
export async function unpack(tar: Readable, into: string, signal: AbortSignal): Promise<string> {
  const peeked = await peek(tar, 6);
  const [decoder, program] = decoderOf(peeked.head);
  const args = [
    '--extract',
    '--numeric-owner',
    // The topmost folder alone is meant: other folders of that name are the image's own.
    '--anchored',
    ...['./dev/*', 'dev/*', '/dev/*'].map((pattern) => `--exclude=${pattern}`),
    `--directory=${into}`,
    ...program,
  ];
  // Without CAP_MKNOD tar cannot make a device, wherever in the archive one hides.
  const child = startChild('setpriv', ['--bounding-set=-mknod', '--inh-caps=-all', 'tar', ...args], {
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
    throw notUnpacked(exitCode, said);
  }
  // tar may be done before its input is: what follows the end of an archive is padding.
  if (feeding !== undefined && !TAR_IS_DONE.has(feedingCode)) throw feeding as Error;
  return await listing.leftOut;
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

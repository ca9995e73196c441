/** Opens the input that a command sends: a local file, a pipe, or standard input. */
import { fstatSync } from 'node:fs';
import { PassThrough, Readable } from 'node:stream';
import { onAbort } from '../../shared/async/wait.js';
import { NexusError } from '../../shared/errors.js';
import { MIB } from '../../shared/limits.js';
import { fileSource, piecesOf, streamSource, type ByteSource } from '../../shared/transfer/source.js';
import type { Context } from '../runner/context.js';
import { openForReading, unreadable } from './local-file.js';

export interface OpenSource extends AsyncDisposable {
  readonly bytes: ByteSource;
  /** 0: unknown. */
  readonly size: number;
}

/** `path` may be `-`; `adviceForFolder` says what to do with a folder. Codes: those of openForReading. */
export async function openSource(path: string, context: Context, adviceForFolder: string): Promise<OpenSource> {
  if (path === '-') return ofStream(standardInput(context), 'standard input', context.signal, () => undefined);
  const opened = await openForReading(path, adviceForFolder);
  if (opened.kind === 'pipe') return ofStream(opened.stream, path, context.signal, () => opened.stream.destroy());
  const { file, size } = opened;
  return { bytes: named(fileSource(file, path), path), size, [Symbol.asyncDispose]: () => file.close() };
}

/** As openSource, in pieces of at most 1 MiB, well below gRPC's limit of 4 MiB; the caller destroys the stream. */
export async function openPieces(path: string, context: Context, adviceForFolder: string): Promise<Readable> {
  if (path === '-') return inOurWords(standardInput(context), 'standard input');
  const opened = await openForReading(path, adviceForFolder);
  if (opened.kind === 'pipe') return inOurWords(opened.stream, path);
  const { file } = opened;
  const pieces = Readable.from(piecesOf(named(fileSource(file, path), path), MIB), {
    objectMode: true,
    highWaterMark: 1,
  });
  return pieces.once('close', () => void file.close());
}

/** Passes the bytes on, and errors in the words of `unreadable`; destroying the result destroys `stream`. */
function inOurWords(stream: Readable, what: string): Readable {
  const pieces = new PassThrough({ highWaterMark: MIB });
  // A reader receives the error, now or later. Without a listener the event would end the process.
  pieces.on('error', () => undefined);
  stream.once('error', (thrown) => pieces.destroy(unreadable(what, thrown) as Error));
  pieces.once('close', () => stream.destroy());
  return stream.pipe(pieces);
}

const named = (source: ByteSource, what: string): ByteSource => ({
  fill: (buffer) =>
    source.fill(buffer).catch((thrown: unknown) => {
      throw unreadable(what, thrown);
    }),
});

/** Code: invalid_argument for a folder. Node gives an empty stream for it, which would be stored as an empty file. */
function standardInput({ streams }: Context): Readable {
  const stdin = streams.stdin as Readable & { readonly fd?: number };
  if (stdin.fd === undefined || !fstatSync(stdin.fd).isDirectory()) return stdin;
  throw new NexusError(
    'invalid_argument',
    'standard input is a folder; give a file, or a pipe: tar c FOLDER | nexus ... -',
  );
}

/** An interrupt ends the stream, too: a read from a silent pipe would wait for ever. */
function ofStream(stream: Readable, what: string, signal: AbortSignal, close: () => void): OpenSource {
  // A pending read receives the error; at any other time it must not end the process.
  stream.on('error', () => undefined);
  const gone = onAbort(signal, (reason) => stream.destroy(reason as Error));
  return {
    bytes: named(streamSource(stream as AsyncIterable<Uint8Array>), what),
    size: 0,
    [Symbol.asyncDispose]: () => {
      gone[Symbol.dispose]();
      close();
      return Promise.resolve();
    },
  };
}

/** What an upload reads from: a file of the caller's, or standard input. */
import type { Readable } from 'node:stream';
import { fileSource, streamSource, type ByteSource } from '../shared/transfer/source.js';
import type { Context } from './context.js';
import { openForReading } from './local-file.js';

export interface OpenSource extends AsyncDisposable {
  readonly bytes: ByteSource;
  /** 0: unknown. */
  readonly size: number;
}

/** `path` may be `-`. Codes: those of openForReading; `adviceForFolder` says what to do with a folder. */
export async function openSource(path: string, context: Context, adviceForFolder: string): Promise<OpenSource> {
  if (path === '-') return openStandardInput(context);
  const { file, size } = await openForReading(path, adviceForFolder);
  return { bytes: fileSource(file, path), size, [Symbol.asyncDispose]: () => file.close() };
}

/** An interrupt ends it, too: a pipe that nothing comes from would be waited for. */
function openStandardInput({ streams, signal }: Context): OpenSource {
  const stdin = streams.stdin as Readable;
  const cancel = (): void => {
    stdin.destroy(signal.reason as Error);
  };
  // Whoever reads at that moment gets the error; at any other it must not end the process.
  stdin.on('error', () => undefined);
  signal.addEventListener('abort', cancel, { once: true });
  return {
    bytes: streamSource(stdin as AsyncIterable<Uint8Array>),
    size: 0,
    [Symbol.asyncDispose]: () => {
      signal.removeEventListener('abort', cancel);
      return Promise.resolve();
    },
  };
}

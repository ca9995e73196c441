/** A secret that was written to a file beforehand, as scripts and services have it. */
import { NexusError } from '../../shared/errors.js';
import { readTextSoon } from '../../shared/text-now.js';
import { openForReading, unreadable } from './local-file.js';

/** Far longer than any secret can be. */
const MAX_BYTES = 4096;

/** Its first line. Codes: those of reading a file, invalid_argument (empty, or longer than any secret). */
export async function readSecretFile(path: string, signal: AbortSignal): Promise<string> {
  const opened = await openForReading(path, 'give a file with the password in its first line');
  const close = opened.kind === 'pipe' ? () => Promise.resolve(opened.stream.destroy()) : () => opened.file.close();
  try {
    const text = await readTextSoon(path, MAX_BYTES, signal).catch((thrown: unknown) => {
      throw unreadable(path, thrown);
    });
    const [line = ''] = text.split(/\r?\n/, 1);
    if (line !== '' && Buffer.byteLength(text) < MAX_BYTES) return line;
    throw new NexusError('invalid_argument', `${path} contains no password: its first line is empty or far too long`);
  } finally {
    await close().catch(() => undefined);
  }
}

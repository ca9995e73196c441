/** A secret that was written to a file beforehand, as scripts and services have it. */
import { NexusError } from '../shared/errors.js';
import { openForReading } from './local-file.js';

/** Far longer than any secret can be. */
const MAX_BYTES = 4096;

/** Its first line. Codes: those of reading a file, invalid_argument (empty, or longer than any secret). */
export async function readSecretFile(path: string): Promise<string> {
  const { file } = await openForReading(path, 'give a file with the password in its first line');
  try {
    const { bytesRead, buffer } = await file.read(Buffer.alloc(MAX_BYTES), 0, MAX_BYTES, null);
    const [line = ''] = buffer.subarray(0, bytesRead).toString('utf8').split(/\r?\n/, 1);
    if (line !== '' && bytesRead < MAX_BYTES) return line;
    throw new NexusError('invalid_argument', `${path} holds no password: its first line is empty or far too long`);
  } finally {
    await file.close();
  }
}

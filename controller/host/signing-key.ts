/** The key that signs chunk tokens: made at the first start, kept in <state>/token.pem (mode 0600). */
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { exportSigningKey, generateSigningKey, importSigningKey, type SigningKey } from '../../shared/chunk-token.js';
import { writeSecret } from './secret-file.js';

export async function loadTokenKey(stateDir: string): Promise<SigningKey> {
  const path = join(stateDir, 'token.pem');
  try {
    return importSigningKey(await readFile(path, 'utf8'));
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ENOENT') throw error;
    const key = generateSigningKey();
    await writeSecret(path, exportSigningKey(key));
    return key;
  }
}

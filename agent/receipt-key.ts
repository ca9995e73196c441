/** The key that signs this node's receipts: made at the first start, kept on the volume, so that it moves with the chunks. */
import { mkdir, open, readFile, rename } from 'node:fs/promises';
import { join } from 'node:path';
import { exportSigningKey, generateSigningKey, importSigningKey, type SigningKey } from '../shared/chunk-token.js';

export async function loadReceiptKey(dataDir: string): Promise<SigningKey> {
  const path = join(dataDir, '.agent', 'receipt.pem');
  try {
    return importSigningKey(await readFile(path, 'utf8'));
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ENOENT') throw error;
  }
  await mkdir(join(dataDir, '.agent'), { recursive: true, mode: 0o700 });
  const key = generateSigningKey();
  const temporary = `${path}.tmp`;
  const file = await open(temporary, 'w', 0o600);
  try {
    await file.writeFile(exportSigningKey(key));
    await file.sync();
  } finally {
    await file.close();
  }
  await rename(temporary, path);
  return key;
}

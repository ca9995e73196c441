/**
 * The key that this agent signs receipts with. It lies on the volume and so belongs to it: receipts stay valid when the
 * agent restarts.
 */
import { randomUUID } from 'node:crypto';
import { mkdir, rename } from 'node:fs/promises';
import { join } from 'node:path';
import { exportSigningKey, generateSigningKey, importSigningKey, type SigningKey } from '../shared/chunk-token.js';
import { NexusError } from '../shared/errors.js';
import { syncFolder, writeDurably } from './chunk/layout.js';
import { readRegular } from './volume/regular-file.js';

/** Creates the key at the first start. Code: data_loss when it is damaged. */
export async function loadReceiptKey(dataDir: string): Promise<SigningKey> {
  const folder = join(dataDir, '.agent');
  const path = join(folder, 'receipt.pem');
  const pem = await readRegular(path, 'utf8').catch((error: unknown) => {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined;
    throw error instanceof NexusError ? damaged(path, error) : error;
  });
  if (pem !== undefined) return importedKey(pem, path);
  await mkdir(folder, { recursive: true, mode: 0o700 });
  const key = generateSigningKey();
  const temporary = `${path}.${randomUUID()}`;
  await writeDurably(temporary, exportSigningKey(key));
  await rename(temporary, path);
  await syncFolder(folder);
  return key;
}

function importedKey(pem: string, path: string): SigningKey {
  try {
    return importSigningKey(pem);
  } catch (error) {
    throw damaged(path, error);
  }
}

const damaged = (path: string, cause: unknown): NexusError =>
  new NexusError('data_loss', `the receipt key ${path} is damaged; remove the file, a new one is made`, {}, { cause });

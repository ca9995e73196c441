/** Something to store. */
import { randomBytes } from 'node:crypto';
import { closeSync, openSync, writeSync } from 'node:fs';
import { MIB } from '../../shared/limits.js';

const PIECE_BYTES = 16 * MIB;

export function writeRandomFile(path: string, sizeBytes: number): void {
  const file = openSync(path, 'w');
  for (let written = 0; written < sizeBytes; written += PIECE_BYTES) writeSync(file, randomBytes(PIECE_BYTES));
  closeSync(file);
}

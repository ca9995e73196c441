/** A small text file that is needed before anything can be waited for, and must not hold the process where it is a pipe. */
import { closeSync, constants, fstatSync, openSync, readSync } from 'node:fs';
import { NexusError } from './errors.js';

const { O_RDONLY, O_NONBLOCK, O_NOCTTY } = constants;
/** Between two looks at a pipe that nothing has come from, and how long it is looked at. */
const LOOK_MS = 20;
const PATIENCE_MS = 5000;

/**
 * A small text at once, for what is needed before anything can be waited for. A named pipe has 5 s to give it. Throws what
 * the system says. Code: deadline_exceeded.
 */
export function readTextNow(path: string, mostBytes: number): string {
  const descriptor = openSync(path, O_RDONLY | O_NONBLOCK | O_NOCTTY);
  try {
    const mayWait = !fstatSync(descriptor).isFile();
    const deadline = performance.now() + PATIENCE_MS;
    const buffer = Buffer.alloc(mostBytes);
    for (let size = 0; ;) {
      const read = readSome(descriptor, buffer, size);
      size += read ?? 0;
      // The end of a pipe before its first byte: its writer has not come yet.
      const isOver = read === 0 && (size > 0 || !mayWait);
      if (isOver || size === mostBytes) return buffer.toString('utf8', 0, size);
      if (read === undefined || read === 0) {
        if (performance.now() > deadline)
          throw new NexusError('deadline_exceeded', `${path} gave nothing within ${PATIENCE_MS / 1000} s; give a file`);
        Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, LOOK_MS);
      }
    }
  } finally {
    closeSync(descriptor);
  }
}

/** undefined: nothing has come yet. */
function readSome(descriptor: number, buffer: Buffer, at: number): number | undefined {
  try {
    return readSync(descriptor, buffer, at, buffer.length - at, null);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'EAGAIN') return undefined;
    throw error;
  }
}

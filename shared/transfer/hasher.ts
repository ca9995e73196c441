/**
 * Computes MD5 of chunks in a thread of its own: hashing costs as much as the rest of a transfer, and sockets must not
 * wait for it. Chunks are in shared memory, so that nothing is copied on the way to that thread.
 */
import { createHash } from 'node:crypto';
import { realpathSync } from 'node:fs';
import { Worker } from 'node:worker_threads';
import { deferred } from '../async/wait.js';
import { NexusError } from '../errors.js';

/** Source text, so that it is part of every bundle and needs no file of its own. */
const WORKER = `
  const { parentPort } = require('node:worker_threads');
  const { createHash } = require('node:crypto');
  parentPort.on('message', ({ id, memory, size }) => {
    parentPort.postMessage({ id, md5: createHash('md5').update(new Uint8Array(memory, 0, size)).digest('hex') });
  });
`;

/** Limits of the thread, which handles only small messages. */
const HEAP = { maxYoungGenerationSizeMb: 1, maxOldGenerationSizeMb: 16, stackSizeMb: 1 };

interface Job {
  resolve(md5: string): void;
  reject(error: Error): void;
}

export class ChunkHasher {
  readonly #jobs = new Map<number, Job>();
  #worker: Worker | undefined;
  #hashed = 0;

  /** Returns the MD5 of the first `size` bytes, lower-case hex. The buffer must not change meanwhile. */
  hash(buffer: Buffer, size: number): Promise<string> {
    const id = this.#hashed;
    this.#hashed += 1;
    const memory = buffer.buffer;
    // The first chunk is hashed here: a file of one chunk is done before a thread would have started.
    if (id === 0 || !(memory instanceof SharedArrayBuffer) || buffer.byteOffset !== 0) {
      return Promise.resolve(md5Of(buffer, size));
    }
    if (this.#worker === undefined && !hasWorkingFolder()) return Promise.resolve(md5Of(buffer, size));
    const worker = (this.#worker ??= this.#start());
    const { promise, resolve, reject } = deferred<string>();
    this.#jobs.set(id, { resolve, reject });
    worker.postMessage({ id, memory, size });
    return promise;
  }

  /** Ends the thread and rejects pending hashes. Code: cancelled. */
  close(): void {
    void this.#worker?.terminate();
    this.#fail(new NexusError('cancelled', 'the transfer has ended'));
  }

  #start(): Worker {
    const worker = new Worker(WORKER, { eval: true, execArgv: [], env: {}, resourceLimits: HEAP });
    worker.on('message', ({ id, md5 }: { id: number; md5: string }) => {
      this.#jobs.get(id)?.resolve(md5);
      this.#jobs.delete(id);
    });
    worker.on('error', (error) => {
      this.#fail(new NexusError('internal', `the hashing thread failed: ${error.message}`, {}, { cause: error }));
    });
    return worker;
  }

  #fail(error: NexusError): void {
    for (const job of this.#jobs.values()) job.reject(error);
    this.#jobs.clear();
  }
}

const md5Of = (buffer: Buffer, size: number): string =>
  createHash('md5').update(buffer.subarray(0, size)).digest('hex');

/** Node can't start a thread in a folder that has been removed. */
function hasWorkingFolder(): boolean {
  try {
    realpathSync.native('.');
    return true;
  } catch {
    return false;
  }
}

/**
 * Sends a file as the body of a reply: two buffers take turns, one being read into while the other is on its way, so
 * that a transfer needs the same small memory whatever the file's size, and makes no garbage.
 */
import type { FileHandle } from 'node:fs/promises';
import type { ServerResponse } from 'node:http';
import { after, cancel } from '../../shared/async/timers.js';
import { deferred } from '../../shared/async/wait.js';
import { NexusError } from '../../shared/errors.js';
import { KIB } from '../../shared/limits.js';
import { IDLE_TIMEOUT_MS } from './body.js';

/** Beyond this the rate does not rise any more. */
const BUFFER_BYTES = 256 * KIB;

/** The headers must be set; ends the reply. Codes: cancelled (the receiver went away), deadline_exceeded, data_loss. */
export async function sendFile(file: FileHandle, size: number, response: ServerResponse): Promise<void> {
  const buffers = [
    Buffer.allocUnsafeSlow(Math.min(BUFFER_BYTES, size)),
    Buffer.allocUnsafeSlow(Math.min(BUFFER_BYTES, size)),
  ];
  const sender = new PacedSender(response);
  try {
    let sent: Promise<void> = Promise.resolve();
    for (let position = 0, turn = 0; position < size; turn ^= 1) {
      const buffer = buffers[turn] ?? Buffer.alloc(0);
      const { bytesRead } = await file.read(buffer, 0, Math.min(buffer.length, size - position), position);
      if (bytesRead === 0) throw new NexusError('data_loss', `the file ends after ${position} of ${size} bytes`);
      position += bytesRead;
      await sent;
      sent = sender.send(buffer.subarray(0, bytesRead));
      // Awaited a turn later; a failure in between must not count as unhandled.
      sent.catch(() => undefined);
    }
    await sent;
    response.end();
  } finally {
    sender.close();
  }
}

/** One piece at a time, each within the idle time limit. */
class PacedSender {
  #fail: ((error: Error) => void) | undefined;
  readonly #timer: NodeJS.Timeout;
  readonly #onClose = (): void => {
    this.#fail?.(new NexusError('cancelled', 'the receiver went away'));
  };

  constructor(private readonly response: ServerResponse) {
    this.#timer = after(IDLE_TIMEOUT_MS, () => {
      this.#fail?.(new NexusError('deadline_exceeded', `the receiver accepted nothing for ${IDLE_TIMEOUT_MS} ms`));
    });
    response.on('close', this.#onClose);
  }

  send(piece: Buffer): Promise<void> {
    if (this.response.destroyed) return Promise.reject(new NexusError('cancelled', 'the receiver went away'));
    const { promise, resolve, reject } = deferred();
    this.#fail = reject;
    this.#timer.refresh();
    this.response.write(piece, (error) => {
      if (error) reject(new NexusError('cancelled', 'the receiver went away', {}, { cause: error }));
      else resolve();
    });
    return promise;
  }

  close(): void {
    cancel(this.#timer);
    this.response.off('close', this.#onClose);
  }
}

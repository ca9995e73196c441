/**
 * Who may still write how much. Room is promised before the first byte, so that two writes that ask at once can't both
 * get the last of it; what has reached the volume is in its own figures from then on and is promised no longer.
 */
import { NexusError } from '../../shared/errors.js';
import { MIB } from '../../shared/limits.js';
import type { Volume } from '../volume/port.js';

/** Kept free for sidecars, folders and the journal, so that a volume full of chunks still works. */
const RESERVE_BYTES = MIB;

export interface Room {
  /** So many of the promised bytes are in a temporary file now. */
  take(bytes: number): void;
  /** Idempotent. */
  readonly release: () => void;
}

export class RoomLedger {
  #promisedBytes = 0;
  #temporaryBytes = 0;

  constructor(private readonly volume: Volume) {}

  /** Bytes in temporary files. */
  get temporaryBytes(): number {
    return this.#temporaryBytes;
  }

  /** Code: resource_exhausted. */
  async promise(size: number): Promise<Room> {
    this.#promisedBytes += size;
    try {
      const { freeBytes } = await this.volume.usage();
      const left = freeBytes - this.#promisedBytes - RESERVE_BYTES;
      if (left < 0) {
        const room = Math.max(0, left + size);
        throw new NexusError(
          'resource_exhausted',
          `the volume has room for ${room} bytes, not for ${size}; remove files or add nodes`,
        );
      }
    } catch (error) {
      this.#promisedBytes -= size;
      throw error;
    }
    return this.#room(size);
  }

  #room(size: number): Room {
    let promised = size;
    let taken = 0;
    return {
      take: (bytes) => {
        promised -= bytes;
        taken += bytes;
        this.#promisedBytes -= bytes;
        this.#temporaryBytes += bytes;
      },
      release: () => {
        this.#promisedBytes -= promised;
        this.#temporaryBytes -= taken;
        promised = 0;
        taken = 0;
      },
    };
  }
}

/**
 * Accounts for the volume's room. It is promised before the first byte, so that two concurrent writes can't both get
 * the last of it. Bytes that have reached the volume show in its own figures and count as promised no longer.
 */
import { NexusError } from '../../shared/errors.js';
import { RESERVED_BYTES, RESERVED_INODES } from '../volume/probe.js';
import type { Volume } from '../volume/port.js';

/** Inodes of a chunk, its sidecar, and the folder where it is the first chunk. */
const INODES_PER_WRITE = 3;

export interface Room {
  /** Counts promised bytes as temporary, once they are in a temporary file. */
  take(bytes: number): void;
  /** Idempotent. */
  readonly release: () => void;
}

export class RoomLedger {
  #promisedBytes = 0;
  #writes = 0;
  #temporaryBytes = 0;

  constructor(private readonly volume: Volume) {}

  /** Bytes in temporary files. */
  get temporaryBytes(): number {
    return this.#temporaryBytes;
  }

  /** Code: resource_exhausted. */
  async promise(size: number): Promise<Room> {
    this.#promisedBytes += size;
    this.#writes += 1;
    try {
      const { freeBytes, totalInodes, freeInodes } = await this.volume.usage();
      if (totalInodes > 0 && freeInodes < this.#writes * INODES_PER_WRITE + RESERVED_INODES) {
        throw new NexusError(
          'resource_exhausted',
          `the volume has ${freeInodes} free inodes, too few for another chunk; remove files or add nodes`,
        );
      }
      const left = freeBytes - this.#promisedBytes - RESERVED_BYTES;
      if (left < 0) {
        const room = Math.max(0, left + size);
        throw new NexusError(
          'resource_exhausted',
          `the volume has room for ${room} bytes, not for ${size}; remove files or add nodes`,
        );
      }
    } catch (error) {
      this.#promisedBytes -= size;
      this.#writes -= 1;
      throw error;
    }
    return this.#room(size);
  }

  #room(size: number): Room {
    let promised = size;
    let taken = 0;
    let isOpen = true;
    return {
      take: (bytes) => {
        promised -= bytes;
        taken += bytes;
        this.#promisedBytes -= bytes;
        this.#temporaryBytes += bytes;
      },
      release: () => {
        if (isOpen) this.#writes -= 1;
        isOpen = false;
        this.#promisedBytes -= promised;
        this.#temporaryBytes -= taken;
        promised = 0;
        taken = 0;
      },
    };
  }
}

/** Where the bytes of an upload come from: a file, read straight into the chunk's buffer, or any stream. */
import type { FileHandle } from 'node:fs/promises';
import { MIB } from '../limits.js';

export interface ByteSource {
  /**
   * Fills the buffer from its start, calling `onPiece` with each part as it arrives; answers how many bytes there
   * were, less than the buffer holds only at the end.
   */
  fill(buffer: Buffer, onPiece: (piece: Buffer) => void): Promise<number>;
}

/** Small enough that hashing one piece does not keep sockets waiting, large enough to cost few calls. */
const PIECE_BYTES = MIB;

export function fileSource(file: FileHandle): ByteSource {
  return {
    fill: async (buffer, onPiece) => {
      let filled = 0;
      while (filled < buffer.length) {
        const wanted = Math.min(PIECE_BYTES, buffer.length - filled);
        const { bytesRead } = await file.read(buffer, filled, wanted, null);
        if (bytesRead === 0) break;
        onPiece(buffer.subarray(filled, filled + bytesRead));
        filled += bytesRead;
      }
      return filled;
    },
  };
}

export function streamSource(stream: AsyncIterable<Uint8Array>): ByteSource {
  const iterator = stream[Symbol.asyncIterator]();
  let rest: Uint8Array = new Uint8Array(0);
  return {
    fill: async (buffer, onPiece) => {
      let filled = 0;
      while (filled < buffer.length) {
        if (rest.length === 0) {
          const next = await iterator.next();
          if (next.done === true) break;
          rest = next.value;
        }
        const taken = Math.min(rest.length, buffer.length - filled);
        buffer.set(rest.subarray(0, taken), filled);
        onPiece(buffer.subarray(filled, filled + taken));
        rest = rest.subarray(taken);
        filled += taken;
      }
      return filled;
    },
  };
}

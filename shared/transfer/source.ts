/** Where the bytes of an upload come from: a file, read straight into the chunk's buffer, or any stream. */
import type { FileHandle } from 'node:fs/promises';

export interface ByteSource {
  /** Fills the buffer from its start; answers how many bytes there were, less than it holds only at the end. */
  fill(buffer: Buffer): Promise<number>;
}

export function fileSource(file: FileHandle): ByteSource {
  return {
    fill: async (buffer) => {
      let filled = 0;
      while (filled < buffer.length) {
        const { bytesRead } = await file.read(buffer, filled, buffer.length - filled, null);
        if (bytesRead === 0) break;
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
    fill: async (buffer) => {
      let filled = 0;
      while (filled < buffer.length) {
        if (rest.length === 0) {
          const next = await iterator.next();
          if (next.done === true) break;
          rest = next.value;
        }
        const taken = Math.min(rest.length, buffer.length - filled);
        buffer.set(rest.subarray(0, taken), filled);
        rest = rest.subarray(taken);
        filled += taken;
      }
      return filled;
    },
  };
}

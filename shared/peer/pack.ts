/** The head of a pack of small chunks, as shared/data-plane.ts describes it; both who sends and who forwards write it. */
import type { PackHead } from '../data-plane.js';

/** With its length before it. */
export function packHead(head: PackHead): Buffer {
  const text = Buffer.from(JSON.stringify(head));
  const length = Buffer.alloc(4);
  length.writeUInt32BE(text.length);
  return Buffer.concat([length, text]);
}

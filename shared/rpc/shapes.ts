/**
 * Converts gRPC messages to the shape that scripts rely on, in the CLI and REST: snake_case names, numbers as numbers.
 */
import type { Event } from '../gen/nexus/v1/cluster.js';
import type { File } from '../gen/nexus/v1/file.js';
import type { FsEntry } from '../gen/nexus/v1/fs.js';
import type { Node } from '../gen/nexus/v1/node.js';

export type Shape = Record<string, unknown>;

/** Renames every field to snake_case; 64-bit integers become numbers, as Nexus keeps them below 2^53. */
export function plain(value: unknown): unknown {
  if (typeof value === 'bigint') return Number(value);
  if (Array.isArray(value)) return value.map(plain);
  if (typeof value !== 'object' || value === null) return value;
  return Object.fromEntries(Object.entries(value).map(([name, field]) => [snakeCase(name), plain(field)]));
}

export const snakeCase = (name: string): string => name.replace(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`);

/** Label keys are the user's own and are not renamed. */
export const nodeShape = (node: Node): Shape => ({ ...(plain(node) as Shape), labels: node.labels });

export const fileShape = (file: File): Shape => plain(file) as Shape;

export const entryShape = (entry: FsEntry): Shape => plain(entry) as Shape;

/** For flat answers, e.g. quotas and sums. */
export const plainShape = (answer: object): Shape => plain(answer) as Shape;

export const eventShape = (event: Event): Shape => plain(event) as Shape;

/** JSON has no bytes: data that is not UTF-8 comes as base64 beside the text, in which invalid bytes are U+FFFD. */
export function textOrBase64(name: string, pieces: readonly Uint8Array[]): Shape {
  const bytes = Buffer.concat(pieces);
  const text = bytes.toString('utf8');
  const isText = Buffer.from(text, 'utf8').equals(bytes);
  return isText ? { [name]: text } : { [name]: text, [`${name}_base64`]: bytes.toString('base64') };
}

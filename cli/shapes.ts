/** What comes over gRPC in the shape that scripts rely on: snake_case names, numbers as numbers. REST's are the same. */
import type { Event, GetStatusResponse } from '../shared/gen/nexus/v1/cluster.js';
import type { File, LocateFileResponse } from '../shared/gen/nexus/v1/file.js';
import type { FsEntry } from '../shared/gen/nexus/v1/fs.js';
import type { Image } from '../shared/gen/nexus/v1/image.js';
import type { Node } from '../shared/gen/nexus/v1/node.js';

export type Shape = Record<string, unknown>;

/** Every field under its snake_case name; 64-bit numbers stay below 2^53 everywhere in Nexus. */
function plain(value: unknown): unknown {
  if (typeof value === 'bigint') return Number(value);
  if (Array.isArray(value)) return value.map(plain);
  if (typeof value !== 'object' || value === null) return value;
  return Object.fromEntries(Object.entries(value).map(([name, field]) => [snakeCase(name), plain(field)]));
}

const snakeCase = (name: string): string => name.replace(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`);

/** Labels' keys are the user's own and stay as they are. */
export const nodeShape = (node: Node): Shape => ({ ...(plain(node) as Shape), labels: node.labels });

export const fileShape = (file: File): Shape => plain(file) as Shape;

export const entryShape = (entry: FsEntry): Shape => plain(entry) as Shape;

/** Of answers that are flat: quotas, sums. */
export const plainShape = (answer: object): Shape => plain(answer) as Shape;

export const imageShape = (image: Image): Shape => plain(image) as Shape;

export const eventShape = (event: Event): Shape => plain(event) as Shape;

export const whereShape = (where: LocateFileResponse): Shape => plain(where) as Shape;

export function statusShape(status: GetStatusResponse): Shape {
  return {
    instance: status.instance,
    version: status.version,
    runtime: status.runtime,
    state_dir: status.stateDir,
    started_at: status.startedAt,
    controller: { pid: status.controllerPid, socket: status.controllerSocket },
    nats: { url: status.natsUrl, pid: status.natsPid },
    nodes: plain(status.nodes),
    storage: plain(status.storage),
    repair: plain(status.repair),
    warnings: status.warnings,
  };
}

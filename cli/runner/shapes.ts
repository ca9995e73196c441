/** Shapes that only the command line prints; the others it has in common with REST. */
import type { GetStatusResponse } from '../../shared/gen/nexus/v1/cluster.js';
import type { LocateFileResponse } from '../../shared/gen/nexus/v1/file.js';
import type { Image } from '../../shared/gen/nexus/v1/image.js';
import { plain, type Shape } from '../../shared/rpc/shapes.js';

export { entryShape, eventShape, fileShape, nodeShape, plainShape, type Shape } from '../../shared/rpc/shapes.js';

export const imageShape = (image: Image): Shape => plain(image) as Shape;

export const whereShape = (where: LocateFileResponse): Shape => plain(where) as Shape;

export function statusShape(status: GetStatusResponse): Shape {
  return {
    instance: status.instance,
    version: status.version,
    runtime: status.runtime,
    state_dir: status.stateDir,
    started_at: status.startedAt,
    controller: { pid: status.controllerPid, socket: status.controllerSocket },
    gateway: plain(status.gateway),
    nats: { url: status.natsUrl, pid: status.natsPid },
    nodes: plain(status.nodes),
    storage: plain(status.storage),
    repair: plain(status.repair),
    spares: plain(status.spares),
    lambda: plain(status.lambda),
    causes: status.causes.map((cause) => plain(cause)),
    warnings: status.warnings,
  };
}

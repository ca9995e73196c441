/** Every gRPC service of the controller, with its handlers behind one edge. */
import { ClusterServiceService } from '../../shared/gen/nexus/v1/cluster.js';
import { FileServiceService } from '../../shared/gen/nexus/v1/file.js';
import { FsServiceService } from '../../shared/gen/nexus/v1/fs.js';
import { IdentityServiceService } from '../../shared/gen/nexus/v1/identity.js';
import { ImageServiceService } from '../../shared/gen/nexus/v1/image.js';
import { LambdaServiceService } from '../../shared/gen/nexus/v1/lambda.js';
import { MetricsServiceService } from '../../shared/gen/nexus/v1/metrics.js';
import { NodeServiceService } from '../../shared/gen/nexus/v1/node.js';
import { StateServiceService } from '../../shared/gen/nexus/v1/state.js';
import type { FileUseCases } from '../file/use-cases.js';
import type { IdentityUseCases } from '../identity/use-cases.js';
import { Images } from '../image/use-cases.js';
import type { NodeService } from '../node/service.js';
import type { Upkeep } from '../repair/upkeep.js';
import type { DocumentSource } from '../state/document.js';
import type { Store } from '../store/port/store.js';
import type { FsUseCases } from '../vfs/use-cases.js';
import { clusterServiceHandlers, type ClusterDeps } from '../edge/services/cluster.js';
import type { Edge } from '../edge/admission.js';
import { fileServiceHandlers } from '../edge/services/file.js';
import { fsServiceHandlers } from '../edge/services/fs.js';
import { identityServiceHandlers } from '../edge/services/identity.js';
import { imageServiceHandlers } from '../edge/services/image.js';
import { lambdaServiceHandlers, type LambdaEdgeDeps } from '../edge/services/lambda.js';
import { metricsServiceHandlers } from '../edge/services/metrics.js';
import { nodeServiceHandlers } from '../edge/services/node/handlers.js';
import type { RegisteredService } from '../edge/server.js';
import { stateServiceHandlers } from '../edge/services/state.js';

export interface UseCases {
  readonly store: Store;
  readonly nodes: NodeService;
  readonly files: FileUseCases;
  readonly fs: FsUseCases;
  readonly upkeep: Upkeep;
  readonly lambda: Pick<LambdaEdgeDeps, 'lambda' | 'invocations'>;
  readonly identity: IdentityUseCases;
  readonly document: DocumentSource;
  readonly cluster: Pick<ClusterDeps, 'snapshot' | 'startedAt' | 'ownLog' | 'gateway' | 'shutdown'>;
}

/** Maps proto files to services, for reflection. */
export function servicesFor(
  { store, nodes, files, fs, upkeep, lambda, identity, document, cluster }: UseCases,
  edge: Edge,
): readonly RegisteredService[] {
  const { context } = nodes;
  const { registry } = context;
  const { startedAt, ownLog } = cluster;
  const { mails } = identity;
  const metrics = { context, store, upkeep, lambda: lambda.lambda, mails, startedAt, ownLog };
  const images = new Images(context.hostings.own.images, () => registry.list(), nodes.spares);
  const service = (
    proto: string,
    definition: RegisteredService['definition'],
    handlers: object,
  ): RegisteredService => ({
    proto: `nexus/v1/${proto}.proto`,
    definition,
    handlers: { ...handlers },
  });
  return [
    service('node', NodeServiceService, nodeServiceHandlers(nodes, upkeep, edge)),
    service('image', ImageServiceService, imageServiceHandlers(images, edge)),
    service('file', FileServiceService, fileServiceHandlers(files, upkeep, registry, edge)),
    service(
      'fs',
      FsServiceService,
      fsServiceHandlers(fs, (name) => identity.administration.exists(name), edge),
    ),
    service(
      'state',
      StateServiceService,
      stateServiceHandlers(
        { archive: store.archive, service: nodes, files: store.files, replicas: store.replicas },
        document,
        edge,
      ),
    ),
    service(
      'lambda',
      LambdaServiceService,
      lambdaServiceHandlers({ ...lambda, registry, settings: context.settings }, edge),
    ),
    service('metrics', MetricsServiceService, metricsServiceHandlers(metrics, edge)),
    service('identity', IdentityServiceService, identityServiceHandlers(identity, edge)),
    service(
      'cluster',
      ClusterServiceService,
      clusterServiceHandlers(
        {
          ...cluster,
          context,
          files: store.files,
          upkeep,
          lambda: lambda.lambda,
          spares: nodes.spares,
          events: context.events,
          mail: mails.statistics,
        },
        edge,
      ),
    ),
  ];
}

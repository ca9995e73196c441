/** ClusterService: status, events, the end. */
import type { Notice } from '../../../shared/advice/advice.js';
import { inCommandWords } from '../../../shared/advice/command-words.js';
import type {
  ClusterServiceServer,
  Event,
  SharedCause as SharedCauseMessage,
  GatewaySummary,
  GetStatusResponse,
} from '../../../shared/gen/nexus/v1/cluster.js';
import { VERSION } from '../../../shared/version.js';
import { clusterWarnings, type WatchedLog } from '../../cause/cluster-warnings.js';
import type { SharedCauses } from '../../cause/shared-causes.js';
import type { EventLog } from '../../events/log.js';
import { readEvents } from '../../events/read.js';
import type { Lambda } from '../../lambda/use-cases.js';
import type { NodeContext } from '../../node/context.js';
import type { SpareNodes } from '../../node/spare/spares.js';
import type { NodeStatus } from '../../node/state.js';
import type { Upkeep } from '../../repair/upkeep.js';
import type { EventRecord, FileStore } from '../../store/port/store.js';
import { lambdaSummary, repairShape, storageShape } from '../shapes.js';
import type { Edge } from '../admission.js';
import { serverStream, unary } from '../handlers.js';

export interface ClusterDeps {
  readonly context: NodeContext;
  readonly files: FileStore;
  readonly upkeep: Upkeep;
  readonly lambda: Lambda;
  readonly spares: Pick<SpareNodes, 'ready' | 'wanted' | 'warnings'>;
  readonly events: EventLog;
  readonly startedAt: number;
  readonly ownLog: WatchedLog;
  readonly snapshot: { readonly warnings: readonly Notice[] };
  readonly mail: { readonly warnings: readonly Notice[] };
  readonly gateway: () => GatewaySummary;
  /** Ends the controller in order, and reports each step to `tell`. */
  readonly shutdown: (purge: boolean, tell: (progress: string) => Promise<void>) => Promise<void>;
}

export function clusterServiceHandlers(deps: ClusterDeps, edge: Edge): ClusterServiceServer {
  return {
    getStatus: unary(edge, () => status(deps)),
    getReadiness: unary(edge, () => Promise.resolve({ causes: causesOf(deps.context.causes) })),
    watchEvents: serverStream(edge, async ({ follow, afterId, last }, { caller, signal, send }) => {
      using _place = follow ? edge.streams.take(caller.user) : undefined;
      const wanted = { afterId: Number(afterId), last, follow, reader: caller, signal };
      await readEvents(deps.events, wanted, (event) => send({ event: eventShape(event) }));
    }),
    shutdown: serverStream(edge, async ({ purge }, { send }) => {
      await deps.shutdown(purge, (progress) => send({ progress }));
    }),
  };
}

const eventShape = (event: EventRecord): Event => ({
  id: BigInt(event.id),
  at: new Date(event.at).toISOString(),
  type: event.type,
  subject: event.subject,
  message: event.message,
});

const causesOf = ({ current }: SharedCauses): SharedCauseMessage[] =>
  current === undefined ? [] : [{ ...current, since: new Date(current.since).toISOString() }];

async function status(deps: ClusterDeps): Promise<GetStatusResponse> {
  const { registry, settings, bus, causes } = deps.context;
  const nodes = registry.list();
  const count = (status: NodeStatus): number => nodes.filter((node) => node.status === status).length;
  const totals = await deps.files.totals();
  const gateway = deps.gateway();
  return {
    instance: settings.instance,
    version: VERSION,
    controllerPid: process.pid,
    controllerSocket: settings.socket,
    natsUrl: bus.url,
    natsPid: bus.serverPid,
    runtime: settings.runtime,
    startedAt: new Date(deps.startedAt).toISOString(),
    stateDir: settings.stateDir,
    nodes: {
      total: nodes.length,
      running: count('Running'),
      suspect: count('Suspect'),
      lost: count('Lost'),
      stopped: count('Stopped'),
      failed: count('Failed'),
      cordoned: nodes.filter((node) => node.cordoned).length,
    },
    storage: storageShape(totals, deps.context, deps.upkeep),
    repair: repairShape(deps.upkeep),
    gateway,
    lambda: lambdaSummary(deps.lambda),
    spares: { ready: deps.spares.ready, wanted: deps.spares.wanted },
    causes: causesOf(causes),
    warnings: clusterWarnings({ ...deps, gatewayProblem: gateway.problem }).map(inCommandWords),
  };
}

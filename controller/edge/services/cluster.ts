/** ClusterService: status, events, the end. */
import type {
  ClusterServiceServer,
  Event,
  SharedCause as SharedCauseMessage,
  GatewaySummary,
  GetStatusResponse,
} from '../../../shared/gen/nexus/v1/cluster.js';
import { NexusError } from '../../../shared/errors.js';
import { VERSION } from '../../../shared/version.js';
import type { SharedCauses } from '../../cause/shared-causes.js';
import { warn, withCause, type Warning } from '../../cause/warnings.js';
import type { EventLog } from '../../events/log.js';
import type { Lambda } from '../../lambda/use-cases.js';
import type { NodeContext } from '../../node/context.js';
import type { NodeStatus } from '../../node/state.js';
import { conditionOf } from '../../node/watch/volume-condition.js';
import { nodeWarnings } from '../../node/warnings.js';
import { repairWarnings } from '../../repair/warnings.js';
import type { Upkeep } from '../../repair/upkeep.js';
import type { EventRecord, FileStore } from '../../store/port/store.js';
import { repairShape, storageShape } from '../shapes.js';
import type { Caller, Edge } from '../admission.js';
import { serverStream, unary } from '../handlers.js';
import { lambdaSummary } from './lambda-shapes.js';

export interface ClusterDeps {
  readonly context: NodeContext;
  readonly files: FileStore;
  readonly upkeep: Upkeep;
  readonly lambda: Lambda;
  readonly events: EventLog;
  readonly startedAt: number;
  readonly ownLog: WatchedLog;
  readonly snapshot: { readonly warnings: readonly string[] };
  readonly mail: { readonly warnings: readonly string[] };
  readonly gateway: () => GatewaySummary;
  /** Ends the controller in order, and reports each step to `tell`. */
  readonly shutdown: (purge: boolean, tell: (progress: string) => Promise<void>) => Promise<void>;
}

/** State of the controller's own log. */
export interface WatchedLog {
  readonly dropped: number;
  /** Empty if there is none. */
  readonly problem: string;
}

/** Limits the new events that wait for a slow watcher; beyond it the watcher's stream ends and it has to reconnect. */
const MAX_WAITING_EVENTS = 1000;

export function clusterServiceHandlers(deps: ClusterDeps, edge: Edge): ClusterServiceServer {
  return {
    getStatus: unary(edge, () => status(deps)),
    getReadiness: unary(edge, () => Promise.resolve({ causes: causesOf(deps.context.causes) })),
    watchEvents: serverStream(edge, async ({ follow, afterId, last: wanted = 0 }, { caller, signal, send }) => {
      using _place = follow ? edge.streams.take(caller.user) : undefined;
      const waiting: EventRecord[] = [];
      const reader = { isTooSlow: false };
      let wake = (): void => undefined;
      const stop = deps.events.listen((event) => {
        if (!mayBeSeen(event, caller)) return;
        if (waiting.length < MAX_WAITING_EVENTS) waiting.push(event);
        else reader.isTooSlow = true;
        wake();
      });
      try {
        let last = Number(afterId);
        const past = await deps.events.past(last);
        last = past.at(-1)?.id ?? last;
        const visible = past.filter((event) => mayBeSeen(event, caller));
        for (const event of wanted === 0 ? visible : visible.slice(-wanted)) await send({ event: eventShape(event) });
        while (follow && !signal.aborted) {
          if (reader.isTooSlow) throw tooSlow(last);
          const event = waiting.shift();
          if (event === undefined)
            await new Promise<void>((resolve) => {
              wake = resolve;
              signal.addEventListener(
                'abort',
                () => {
                  resolve();
                },
                { once: true },
              );
            });
          else if (event.id > last) {
            last = event.id;
            await send({ event: eventShape(event) });
          }
        }
      } finally {
        stop();
      }
    }),
    shutdown: serverStream(edge, async ({ purge }, { send }) => {
      await deps.shutdown(purge, (progress) => send({ progress }));
    }),
  };
}

const tooSlow = (last: number): NexusError =>
  new NexusError('resource_exhausted', `more happened than was read; come again for what came after event ${last}`, {
    after_id: last,
  });

/**
 * Events of nodes are visible to everybody, those of files to their owners, and those of the cluster's upkeep to
 * administrators.
 */
const mayBeSeen = ({ type, owner }: EventRecord, caller: Caller): boolean =>
  caller.isAdministrator || type.startsWith('node.') || (owner !== '' && owner === caller.user);

/** Pure. */
export const logWarnings = ({ dropped, problem }: WatchedLog): string[] =>
  problem === ''
    ? []
    : [
        `the controller's log cannot be written (${problem}), ${dropped} line(s) are missing so far; make room where it goes, or read it; everything else goes on`,
      ];

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
    causes: causesOf(causes),
    warnings: warnings(deps).map(({ text }) => text),
  };
}

function warnings({ context, snapshot, upkeep, gateway, ownLog, mail }: ClusterDeps): readonly Warning[] {
  const { registry, hostings, causes } = context;
  const { problem } = gateway();
  const repair = upkeep.repair.status();
  const hostWarnings = context.hostRoom.warnings;
  return withCause(causes.current, [
    ...snapshot.warnings.map((text) => warn('database-lost', text)),
    ...logWarnings(ownLog).map((text) => warn('log-unwritten', text)),
    ...mail.warnings.map((text) => warn('mail', text)),
    ...(problem === '' ? [] : [warn('gateway-down', `the gateway is not up: ${problem}`)]),
    ...repairWarnings({ ...repair, holders: repair.lostOn.flatMap((id) => registry.get(id)?.name ?? []) }),
    ...hostWarnings.map((text) => warn('host-disk', text)),
    ...registry
      .list()
      .flatMap(({ id, name }) => registry.misconduct.warning(id, name))
      .map((text) => warn('node-misbehaves', text)),
    ...hostings.all.flatMap(({ runtime }) => runtime.caveats).map((text) => warn('runtime-caveat', text)),
    ...nodeWarnings(
      registry.list().map((record) => {
        const agent = registry.agent(record.id);
        return { record, report: agent?.report, volume: conditionOf(agent) };
      }),
      hostWarnings.length > 0,
    ),
  ]);
}

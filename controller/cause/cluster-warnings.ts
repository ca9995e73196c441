/** All warnings about the cluster at present, in the order in which `nexus status` shows them. */
import type { Notice } from '../../shared/advice/advice.js';
import type { NodeContext } from '../node/context.js';
import { nodeWarnings } from '../node/warnings.js';
import { conditionOf } from '../node/watch/volume-condition.js';
import type { Upkeep } from '../repair/upkeep.js';
import { repairWarnings } from '../repair/warnings.js';
import { warn, withCause, type Warning } from './warnings.js';

/** State of the controller's own log. */
export interface WatchedLog {
  readonly dropped: number;
  /** Empty if there is none. */
  readonly problem: string;
}

export interface WatchedCluster {
  readonly context: NodeContext;
  readonly upkeep: Upkeep;
  readonly ownLog: WatchedLog;
  readonly snapshot: { readonly warnings: readonly Notice[] };
  readonly spares: { readonly warnings: readonly Notice[] };
  readonly mail: { readonly warnings: readonly Notice[] };
  /** Empty if the gateway is up, or is not to be. */
  readonly gatewayProblem: string;
}

export function clusterWarnings(cluster: WatchedCluster): readonly Warning[] {
  const { context, snapshot, upkeep, gatewayProblem, ownLog, spares, mail } = cluster;
  const { registry, hostings, causes } = context;
  const repair = upkeep.repair.status();
  const hostWarnings = context.hostRoom.warnings;
  return withCause(causes.current, [
    ...snapshot.warnings.map((text) => warn('database-lost', text)),
    ...logWarnings(ownLog).map((text) => warn('log-unwritten', text)),
    ...mail.warnings.map((text) => warn('mail', text)),
    ...(gatewayProblem === '' ? [] : [warn('gateway-down', `the gateway is not up: ${gatewayProblem}`)]),
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
    ...spares.warnings.map((text) => warn('spares-missing', text)),
  ]);
}

/** Pure. */
export const logWarnings = ({ dropped, problem }: WatchedLog): string[] =>
  problem === ''
    ? []
    : [
        `the controller's log cannot be written (${problem}), ${dropped} line(s) are missing so far; make room on its disk, or read the pipe; everything else continues`,
      ];

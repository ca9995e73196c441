/** Restores a document into an empty cluster, and starts its nodes on the volumes that still exist. */
import { notice, type Message } from '../../shared/advice/advice.js';
import { NexusError, toNexusError } from '../../shared/errors.js';
import type { NodeService } from '../node/service.js';
import type { ArchiveStore } from '../store/port/archive.js';
import type { NodeRecord } from '../store/port/store.js';
import { contentOf, parseDocument } from './restore.js';

export interface Imported {
  readonly nodes: number;
  readonly files: number;
  readonly entries: number;
  readonly warnings: readonly Message[];
}

export interface StateDeps {
  readonly archive: ArchiveStore;
  readonly service: NodeService;
}

/** Codes: invalid_argument (not a valid document), failed_precondition (the cluster is not empty). */
export async function importState({ archive, service }: StateDeps, json: string): Promise<Imported> {
  const document = parseDocument(json);
  const { own } = service.context.hostings;
  const outside = document.nodes.find((node) => node.slot >= own.slots);
  if (outside !== undefined) {
    throw new NexusError(
      'failed_precondition',
      `node ${outside.name} has slot ${outside.slot}, and the subnet has ${own.slots}; set a larger subnet`,
    );
  }
  if (!(await archive.isEmpty())) {
    throw new NexusError(
      'failed_precondition',
      'this cluster has nodes or files already; import into an empty one: stop it, move nexus.db away, start it again',
    );
  }
  const { content, warnings } = contentOf(document, own);
  await archive.restore(content);
  const failures = await takeUp(service, content.nodes);
  return {
    nodes: content.nodes.length,
    files: content.files.length,
    entries: content.entries.length,
    warnings: [...warnings, ...failures],
  };
}

/** Everything is stored by now, so later failures are only warnings. */
async function takeUp(service: NodeService, nodes: readonly NodeRecord[]): Promise<Message[]> {
  try {
    await service.context.registry.load();
  } catch (error) {
    const problem = `everything is stored, but the nodes could not be started: ${toNexusError(error).message}`;
    return [notice(problem, { key: 'restart-cluster' })];
  }
  return await startAll(service, nodes);
}

/** Starts the nodes whose desired state is running; returns the failures as warnings. */
export async function startAll(service: NodeService, nodes: readonly NodeRecord[]): Promise<Message[]> {
  const wanted = nodes.filter((node) => node.desired === 'running');
  const never = new AbortController().signal;
  const results = await Promise.allSettled(wanted.map((node) => service.start(node.id, never)));
  return results.flatMap((result, at) =>
    result.status === 'fulfilled'
      ? []
      : [toNexusError(result.reason).during(`node ${wanted[at]?.name ?? ''} could not be started`)],
  );
}

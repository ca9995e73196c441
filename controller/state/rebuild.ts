/**
 * Rebuilds the state from the volumes: nodes from the cards beside them, raw files from the chunks that agents find on
 * them. Folders, limits of accounts and empty files are on no volume, so they are not restored.
 */
import type { Message } from '../../shared/advice/advice.js';
import { originOfMessage } from '../../shared/chunk-origin.js';
import { NexusError, toNexusError } from '../../shared/errors.js';
import type { NodeId } from '../../shared/ids.js';
import { chunkPage } from '../node/chunk-page.js';
import type { NodeService } from '../node/service.js';
import type { FileStore, NodeRecord } from '../store/port/store.js';
import type { ReplicaStore } from '../store/port/replicas.js';
import { nodeSchema, type NodeCard } from './document.js';
import { startAll, type StateDeps } from './import.js';
import { nodeOf } from './restore.js';
import { planRebuild, type FoundCopy, type RebuiltFile } from './rebuild-plan.js';

const CHUNKS_PER_PAGE = 500;
const LIST_TIMEOUT_MS = 30_000;

export interface RebuildDeps extends StateDeps {
  readonly files: FileStore;
  readonly replicas: ReplicaStore;
}

export interface Rebuilt {
  /** Names of the nodes that were adopted; with `plan`, of those that would be. */
  readonly nodes: readonly string[];
  readonly files: readonly RebuiltFile[];
  readonly warnings: readonly Message[];
}

/** With `plan` nothing is changed, and only running nodes are examined. A bad volume only leads to a warning. */
export async function rebuildState(
  deps: RebuildDeps,
  options: { readonly plan: boolean; readonly signal: AbortSignal },
  tell: (progress: string) => Promise<void>,
): Promise<Rebuilt> {
  const { archive, service } = deps;
  const warnings: Message[] = [];
  const adopted = await adoptable(service, warnings);
  if (!options.plan && adopted.length > 0) {
    await tell(`adopting ${adopted.map((node) => node.name).join(', ')}`);
    await archive.restore({ nodes: adopted, accounts: [], entries: [], files: [] });
    await service.context.registry.load();
    warnings.push(...(await startAll(service, adopted)));
  }
  const copies: FoundCopy[] = [];
  for (const node of service.context.registry.list()) {
    if (node.status !== 'Running' && node.status !== 'Suspect') {
      warnings.push(`node ${node.name} is ${node.status}: its volume could not be read`);
      continue;
    }
    await tell(`reading the chunks on node ${node.name}`);
    try {
      for await (const page of unknownOn(deps, node.id, options.signal)) copies.push(...page);
    } catch (error) {
      warnings.push(toNexusError(error).during(`node ${node.name} could not be read`));
    }
  }
  const planned = planRebuild(copies);
  const files: RebuiltFile[] = [];
  for (const file of planned.files) if ((await deps.files.getFile(file.file.id)) === undefined) files.push(file);
  if (!options.plan && files.length > 0) await archive.restore({ nodes: [], accounts: [], entries: [], files });
  return { nodes: adopted.map((node) => node.name), files, warnings: [...warnings, ...planned.warnings] };
}

/** Returns nodes whose volumes exist and that the cluster does not know. One whose slot is taken gets another. */
async function adoptable(service: NodeService, warnings: Message[]): Promise<NodeRecord[]> {
  const { registry, hostings } = service.context;
  const { own } = hostings;
  const { volumes, slots } = own;
  const taken = new Set(registry.list().map(({ hosting }) => hosting.slot));
  const names = new Set(registry.list().map((node) => node.name));
  const found: NodeRecord[] = [];
  for (const { nodeId, card: text } of await volumes.described()) {
    if (registry.get(nodeId) !== undefined) continue;
    const card = parseCard(text);
    if (card?.id !== nodeId) {
      warnings.push(`the volume ${volumes.pathOf(nodeId)} has no readable description; it was left alone`);
      continue;
    }
    const slot = taken.has(card.slot) || card.slot >= slots ? freeSlot(taken, slots) : card.slot;
    const name = names.has(card.name) ? `${card.name.slice(0, 50)}-${card.id}` : card.name;
    taken.add(slot);
    names.add(name);
    found.push(nodeOf({ ...card, name, desired: 'running' }, slot, own));
  }
  return found.sort((a, b) => a.hosting.slot - b.hosting.slot);
}

function parseCard(text: string): NodeCard | undefined {
  try {
    return nodeSchema.parse(JSON.parse(text));
  } catch {
    return undefined;
  }
}

function freeSlot(taken: ReadonlySet<number>, slots: number): number {
  for (let slot = 0; slot < slots; slot += 1) if (!taken.has(slot)) return slot;
  throw new NexusError('resource_exhausted', `all ${slots} slots are taken; set a larger subnet`);
}

async function* unknownOn(
  { service, replicas }: RebuildDeps,
  node: NodeId,
  signal: AbortSignal,
): AsyncGenerator<FoundCopy[]> {
  for (let after = ''; ;) {
    signal.throwIfAborted();
    const page = { after, limit: CHUNKS_PER_PAGE, timeoutMs: LIST_TIMEOUT_MS };
    const chunks = await chunkPage(service.context, node, page);
    const known = await replicas.knownOn(
      node,
      chunks.map((chunk) => chunk.chunkId),
    );
    yield (
      chunks
        // Skip damaged chunks: they say nothing reliable about a file.
        .filter((chunk) => !known.has(chunk.chunkId) && chunk.damage === '')
        .map(({ chunkId, size, md5, origin }) => ({
          nodeId: node,
          chunkId,
          size: Number(size),
          md5,
          of: origin === undefined ? undefined : originOfMessage(origin),
        }))
    );
    const last = chunks.at(-1);
    if (chunks.length < CHUNKS_PER_PAGE || last === undefined) return;
    after = last.chunkId;
  }
}

/** Rules and errors of nodes that every implementation of the store shares. */
import { NexusError } from '../../../shared/errors.js';
import type { NodeId } from '../../../shared/ids.js';

/** Code: resource_exhausted. */
export function lowestFreeSlot(used: readonly number[], slots: number): number {
  const taken = new Set(used);
  for (let slot = 0; slot < slots; slot++) if (!taken.has(slot)) return slot;
  throw new NexusError(
    'resource_exhausted',
    `all ${slots} node addresses are in use`,
    { slots },
    { advice: { key: 'free-address' } },
  );
}

export const nameTaken = (name: string): NexusError =>
  new NexusError('already_exists', `there is a node named ${name} already; choose another name or remove it first`, {
    name,
  });

export const slotTaken = (slot: number): NexusError =>
  new NexusError('already_exists', `slot ${slot} belongs to another node`, { slot });

export const noSuchNode = (id: NodeId): NexusError => new NexusError('not_found', `there is no node ${id}`, { id });

/**
 * Which nodes a caller may manage: administrators, all. Users see every node; if the settings allow them some, they
 * create, start, stop and remove their own, which carry a label.
 */
import { KeyedMutex } from '../../shared/async/turns.js';
import { NexusError } from '../../shared/errors.js';
import type { NodeRegistry } from './registry.js';
import type { NodeRecord } from '../store/port/store.js';

/** The caller, as far as rules about nodes need it. */
interface Manager {
  readonly user: string;
  readonly isAdministrator: boolean;
}

/** Name of the user who owns the node. Only administrators can set it otherwise. */
const OWNER_LABEL = 'owner';

export class NodeAccess {
  /** Serializes a user's creations, so that two can't both take the last place. */
  readonly #creations = new KeyedMutex<string>();

  constructor(
    private readonly registry: NodeRegistry,
    private readonly nodesPerUser: number,
  ) {}

  /** Returns the node if the caller may manage it. Codes: permission_denied, and those of the look-up. */
  managed(caller: Manager, reference: string): NodeRecord {
    if (!caller.isAdministrator) this.#assertUsersMayHaveNodes();
    const node = this.registry.resolve(reference);
    if (caller.isAdministrator || node.labels[OWNER_LABEL] === caller.user) return node;
    throw new NexusError('permission_denied', `node ${node.name} is not yours`);
  }

  /** As `managed`; only administrators may use `force`, which can lose anybody's files. */
  removable(caller: Manager, reference: string, force: boolean): NodeRecord {
    const node = this.managed(caller, reference);
    if (!force || caller.isAdministrator) return node;
    throw new NexusError('permission_denied', 'only administrators may remove a node together with files on it');
  }

  /** Passes the new node's labels to `create`. Codes: permission_denied, resource_exhausted. */
  async creating<Result>(
    caller: Manager,
    labels: Readonly<Record<string, string>>,
    create: (labels: Readonly<Record<string, string>>) => Promise<Result>,
  ): Promise<Result> {
    if (caller.isAdministrator) return await create(labels);
    this.#assertUsersMayHaveNodes();
    const { user } = caller;
    return await this.#creations.run(user, async () => {
      this.#assertHasRoom(user);
      return await create({ ...labels, [OWNER_LABEL]: user });
    });
  }

  #assertHasRoom(user: string): void {
    const owned = this.registry.list().filter((node) => node.labels[OWNER_LABEL] === user).length;
    if (owned < this.nodesPerUser) return;
    throw new NexusError(
      'resource_exhausted',
      `you have ${owned} of ${this.nodesPerUser} nodes; remove one, or ask an administrator`,
    );
  }

  #assertUsersMayHaveNodes(): void {
    if (this.nodesPerUser > 0) return;
    throw new NexusError('permission_denied', 'nodes are managed by administrators only');
  }
}

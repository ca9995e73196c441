/** Images and the nodes that were made of them. An image that a node uses is not removed. */
import { NexusError } from '../../shared/errors.js';
import type { ImageRecord, ImageStore } from './port.js';

interface ImageUser {
  readonly name: string;
  readonly image: string;
}

/** Prepared nodes that nobody has asked for yet: they must not keep an image from being removed, nor outlive it. */
interface SpareUsers {
  /** Removes those of the image, and makes none until `work` is done. */
  without(image: string, work: () => Promise<void>): Promise<void>;
}

/** Number of nodes named in an error. */
const MOST_NAMED = 5;

export class Images {
  constructor(
    readonly store: ImageStore,
    private readonly nodes: () => readonly ImageUser[],
    private readonly spares: SpareUsers = { without: (_image, work) => work() },
  ) {}

  async list(): Promise<readonly ImageRecord[]> {
    return await this.store.list();
  }

  /** Returns the names of the nodes that were made of the image. */
  usersOf(image: string): string[] {
    return this.nodes()
      .filter((node) => node.image === image)
      .map((node) => node.name);
  }

  /** Codes: not_found, failed_precondition (a node uses it). */
  async remove(image: string): Promise<void> {
    await this.store.rootfsOf(image);
    const users = this.usersOf(image);
    if (users.length > 0) {
      const named = users.slice(0, MOST_NAMED).join(', ');
      throw new NexusError('failed_precondition', `image ${image} is used by ${named}; remove those nodes first`);
    }
    await this.spares.without(image, () => this.store.remove(image));
  }
}

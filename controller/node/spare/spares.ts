/**
 * The spares: how many are ready, who gets one, and when they are made anew. They are no nodes: nothing lists, places on
 * or repairs them. They end with the controller; what one that was killed has left, the next one removes.
 */
import type { Message, Notice } from '../../../shared/advice/advice.js';
import { Limit } from '../../../shared/async/turns.js';
import { toNexusError } from '../../../shared/errors.js';
import { isAlive } from '../../host/process-identity.js';
import { identityOf } from '../../hosting/record.js';
import { hasUnknownOutcome, type NodeRecord } from '../../store/port/store.js';
import type { NodeContext } from '../context.js';
import type { CreateNodeRequest } from '../life/create.js';
import { eraseFromHost } from '../life/take-down.js';
import { readNotes, removeNote } from './notes.js';
import {
  DEFAULT_SHAPE,
  FULL_DISK,
  isSameShape,
  NO_SLOT,
  planSpares,
  shapeAfter,
  shortOfSpares,
  type SpareShape,
} from './plan.js';
import { prepareSpare, type Spare } from './prepare.js';

/** Time without a creation before a spare is made: it must not slow down those who wait. */
const QUIET_MS = 500;
/** After a failure, which the next attempt will likely meet again. */
const FAILED_PAUSE_MS = 10_000;

export class SpareNodes {
  readonly wanted: number;
  #ready: readonly Spare[] = [];
  #shape: SpareShape = DEFAULT_SHAPE;
  /** Monotonic ms before which none is made. */
  #notBefore = 0;
  /** Why the last tick left too few; undefined if it had not to, or more are being made. */
  #lack: Message | undefined;
  #isEnded = false;
  /** Held by whoever makes or removes spares. */
  readonly #changing = new Limit(1);

  constructor(
    private readonly context: NodeContext,
    /** Whether nodes are being started. */
    private readonly isBusy: () => boolean,
  ) {
    const { own } = context.hostings;
    this.wanted = own.can.spares ? context.settings.spareNodes : 0;
  }

  get ready(): number {
    return this.#ready.length;
  }

  /** Records of the spares that are ready: their volumes take room. */
  get nodes(): readonly NodeRecord[] {
    return this.#ready.map(({ node }) => node);
  }

  get isShort(): boolean {
    return this.#ready.length < this.wanted;
  }

  get warnings(): readonly Notice[] {
    if (!this.isShort || this.#lack === undefined) return [];
    return [shortOfSpares(this.ready, this.wanted, this.#lack)];
  }

  /** The spare for a creation, which is its caller's from now on; undefined if none fits. */
  take(request: CreateNodeRequest): Spare | undefined {
    if (this.wanted === 0) return undefined;
    this.#wait(QUIET_MS);
    const spare = this.#ready.find(({ node }) => isSameShape(node, request) && isAlive(identityOf(node)));
    this.#ready = this.#ready.filter((ready) => ready !== spare);
    return spare;
  }

  /** Makes further spares as the node that was just made of none. One that was refused tells nothing of the next. */
  learn(request: CreateNodeRequest): void {
    this.#shape = shapeAfter(this.#shape, shapeOf(request));
  }

  /** Keeps a spare that could not be stored as a node, unless it may have been. */
  putBack(spare: Spare, refusal: unknown): void {
    if (!hasUnknownOutcome(refusal)) this.#ready = [...this.#ready, spare];
  }

  /** Removes a spare if the last free slot is one's. */
  async makeRoom(): Promise<void> {
    const { registry, hostings } = this.context;
    if (this.#ready.length === 0 || registry.freeSlots(hostings.own.slots) > 0) return;
    await this.#changing.run(() => this.#drop(this.#ready.slice(-1)));
  }

  /** Removes the spares of an image, and makes none until `work` is done. */
  async without(image: string, work: () => Promise<void>): Promise<void> {
    await this.#changing.run(async () => {
      await this.#drop(this.#ready.filter(({ node }) => node.image === image));
      await work();
    });
  }

  /** Removes spares that fit no longer, and makes one if there are too few and nothing else is to be done. */
  async tick(signal: AbortSignal): Promise<void> {
    const { registry, hostings, clock, causes, hostRoom } = this.context;
    const isQuiet = !this.isBusy() && clock.monotonic() >= this.#notBefore;
    if (this.wanted === 0 || !isQuiet || causes.current !== undefined) return;
    if (hostRoom.isFull) {
      this.#lack = FULL_DISK;
      return;
    }
    await this.#changing.run(async () => {
      if (this.#isEnded) return;
      const facts = this.nodes.map((node) => ({ id: node.id, shape: node, isAlive: isAlive(identityOf(node)) }));
      const freeSlots = registry.freeSlots(hostings.own.slots);
      const plan = planSpares({ wanted: this.wanted, shape: this.#shape, spares: facts, freeSlots });
      await this.#drop(this.#ready.filter(({ node }) => plan.drop.includes(node.id)));
      if (plan.makesOne) await this.#makeOne(signal);
      else this.#lack = plan.lacksSlots ? NO_SLOT : undefined;
    });
  }

  async #makeOne(signal: AbortSignal): Promise<void> {
    const { log, clock } = this.context;
    const beganAt = clock.monotonic();
    try {
      const spare = await prepareSpare(this.context, this.#shape, signal);
      this.#ready = [...this.#ready, spare];
      this.#lack = undefined;
      log.info(
        { spare: spare.node.id, ms: Math.round(clock.monotonic() - beganAt), ready: this.ready },
        'a spare is ready',
      );
    } catch (error) {
      this.#wait(FAILED_PAUSE_MS);
      this.#lack = toNexusError(error).during('make a spare');
      log.warn({ err: error, said: toNexusError(error).message }, 'a spare could not be made; trying again later');
    }
  }

  /** Removes what an earlier controller has left. */
  async sweep(): Promise<void> {
    const { settings, registry, log } = this.context;
    const notes = await readNotes(settings, (path, error) => {
      log.error({ err: error, path }, 'the note of a spare cannot be read; what it names stays until the next purge');
    });
    await Promise.all(
      notes.map(async (spare) => {
        try {
          // One that became a node is the store's.
          const isNode = registry.get(spare.id) !== undefined;
          log.info({ spare: spare.id, isNode }, 'forgetting a spare of an earlier controller');
          await (isNode ? removeNote(settings, spare.id) : this.#erase(spare));
        } catch (error) {
          log.error({ err: error, spare: spare.id }, 'a spare could not be removed; the next start tries again');
        }
      }),
    );
  }

  /** Removes all and makes no more. Idempotent. */
  async close(): Promise<void> {
    this.#isEnded = true;
    await this.#changing.run(() => this.#drop(this.#ready));
  }

  async #drop(spares: readonly Spare[]): Promise<void> {
    // Nobody may get one that is being removed.
    this.#ready = this.#ready.filter((spare) => !spares.includes(spare));
    await Promise.all(spares.map(({ node }) => this.#erase(node)));
  }

  async #erase(spare: NodeRecord): Promise<void> {
    await eraseFromHost(this.context, spare);
    await removeNote(this.context.settings, spare.id);
    this.context.registry.letSlotGo(spare.hosting.slot);
  }

  #wait(ms: number): void {
    this.#notBefore = Math.max(this.#notBefore, this.context.clock.monotonic() + ms);
  }
}

const shapeOf = ({ image, memoryMb, pidsLimit, storageBytes }: CreateNodeRequest): SpareShape => ({
  image,
  memoryMb,
  pidsLimit,
  storageBytes,
});

/**
 * Keeps every chunk at its number of copies. A survey judges all chunks by the present state of the nodes; lacking
 * copies are made, most endangered first, and surplus or damaged ones removed. It runs after events (a node came or
 * went, a copy was found bad), and at intervals without one.
 */
import { notice, type Advice } from '../../shared/advice/advice.js';
import type { ChunkId, NodeId } from '../../shared/ids.js';
import type { StorageNode } from '../file/nodes.js';
import { Copier } from './copier.js';
import type { RepairDeps } from './deps.js';
import {
  byUrgency,
  isEndangered,
  judge,
  planCopies,
  type CopyPlan,
  type NodesById,
  type PlannedCopy,
  type Verdict,
} from './redundancy.js';
import type { Suspicions } from './suspicions.js';
import { NO_TROUBLE, Troubles, type TroubleSummary } from './troubles.js';

/** Chunks judged at once: some milliseconds of work before other tasks get their turn. */
const WALK_PAGE = 1000;
/** Chunks that a survey keeps; the next survey finds the rest. */
const MAX_BACKLOG = 5000;
/** Between surveys when nothing is lacking: important events trigger one anyway. */
const QUIET_SURVEY_MS = 300_000;
/** Between surveys while copies are lacking. */
const BUSY_SURVEY_MS = 1000;
/** Concurrent copies to one node. */
const COPIES_PER_TARGET = 2;

/** Includes the files that the lost chunks belong to. */
export interface RepairStatus extends TroubleSummary {
  /** Chunks that lacked copies in the last survey, for any reason; at most MAX_BACKLOG. */
  readonly lackingChunks: number;
  /** Those of `lackingChunks` with one whole copy left that can be reached. */
  readonly endangeredChunks: number;
  /** Chunks without a whole copy that can be read now, also where nodes were stopped on purpose. */
  readonly lostChunks: number;
  /** Bytes still to be copied by the planned copies. */
  readonly remainingBytes: number;
  readonly running: number;
  /** Copied since the backlog began. */
  readonly copiedChunks: number;
  readonly copiedBytes: number;
  /** Bytes a second, over the same time. */
  readonly rate: number;
  /** Why some chunks can't be repaired now. */
  readonly blocked: readonly string[];
}

interface Episode {
  readonly startedAt: number;
  copiedChunks: number;
  copiedBytes: number;
  movedChunks: number;
}

interface Survey {
  readonly verdicts: readonly Verdict[];
  readonly nodes: NodesById;
  readonly lostChunks: number;
  readonly troubles: Troubles;
}

export class Repair {
  readonly copier: Copier;
  /** Chunks that a rebalance is moving, with the node that they leave. */
  readonly wandering = new Map<ChunkId, NodeId>();
  #isDue = true;
  #nextSurveyAt = 0;
  #episode: Episode | undefined;
  #lost = 0;
  /** Troubles of the previous survey; undefined: first survey, whose losses an earlier controller has reported. */
  #troubles: Troubles | undefined;
  #status: RepairStatus = NOTHING_TO_DO;
  #nodes: NodesById = new Map();
  /** Surveys made so far. */
  surveys = 0;
  /** Copied since the controller's start, by repairs, drains and rebalances alike. */
  readonly copied = { chunks: 0, bytes: 0 };

  constructor(
    private readonly deps: RepairDeps,
    suspicions: Suspicions,
    /** Called when there are copies to delete. */
    private readonly kickDeletion: () => void,
  ) {
    this.copier = new Copier(deps, suspicions);
  }

  /** Requests a survey after an event: at the next tick, and soon if copies are being made. */
  wake(): void {
    this.#isDue = true;
  }

  status(): RepairStatus {
    return { ...this.#status, running: this.copier.running };
  }

  /** Not to be called concurrently. */
  async tick(signal: AbortSignal): Promise<void> {
    const { clock } = this.deps;
    if (!this.#isDue && clock.monotonic() < this.#nextSurveyAt) return;
    this.#isDue = false;
    await this.#giveUpLeftovers();
    const survey = await this.#survey(signal);
    if (signal.aborted) return;
    const plan = planCopies(survey.verdicts, survey.nodes, (chunk, node) => this.copier.avoids(chunk, node));
    await this.#tell(survey, plan);
    this.surveys += 1;
    await this.#copyAll(plan.copies, signal);
    const isQuiet = survey.verdicts.every((verdict) => verdict.lacking === 0);
    this.#nextSurveyAt = clock.monotonic() + (isQuiet ? QUIET_SURVEY_MS : BUSY_SURVEY_MS);
    // The copies may have made others surplus, or drained a node.
    if (plan.copies.length > 0) this.#isDue = true;
  }

  /** Abandons copies that were begun and are not running: an earlier controller's, or left by a failure. */
  async #giveUpLeftovers(): Promise<void> {
    for (const copy of await this.deps.replicas.begun()) {
      if (this.copier.isRunning(copy.chunkId, copy.nodeId)) continue;
      if (await this.deps.replicas.abandon(copy)) this.kickDeletion();
    }
  }

  async #survey(signal: AbortSignal): Promise<Survey> {
    const nodes = await this.#snapshot();
    this.#nodes = nodes;
    const verdicts: Verdict[] = [];
    let lostChunks = 0;
    const troubles = new Troubles();
    let after = '';
    while (!signal.aborted) {
      const page = await this.deps.replicas.walk({ after, limit: WALK_PAGE });
      for (const chunk of page) {
        const verdict = judge(chunk, nodes, this.wandering.get(chunk.id));
        await this.#trim(verdict, nodes);
        if (verdict.sources.length === 0) {
          lostChunks += 1;
          troubles.add(chunk);
        }
        if (verdict.lacking === 0) continue;
        if (verdicts.length < MAX_BACKLOG) verdicts.push(verdict);
      }
      after = page.at(-1)?.id ?? '';
      if (page.length < WALK_PAGE) break;
    }
    return { verdicts: verdicts.sort(byUrgency), nodes, lostChunks, troubles };
  }

  async #snapshot(): Promise<NodesById> {
    const { nodes, store, room, clock } = this.deps;
    const all = nodes.snapshot();
    const free = room.candidates(all, await store.writingBytes(), clock.now());
    return new Map(
      all.map((node, at): [NodeId, StorageNode] => [
        node.id,
        { ...node, freeBytes: free[at]?.freeBytes ?? 0, freeInodes: free[at]?.freeInodes ?? 0 },
      ]),
    );
  }

  async #trim({ chunk, surplus, bad }: Verdict, nodes: NodesById): Promise<void> {
    if (surplus.length === 0 && bad.length === 0) return;
    const standing = (wanted: StorageNode['standing']): NodeId[] =>
      [...nodes.values()].filter((node) => node.standing === wanted).map((node) => node.id);
    const here = standing('here');
    const reachable = [...here, ...standing('leaving')];
    for (const nodeId of surplus) {
      if (await this.deps.replicas.dropSurplus({ chunkId: chunk.id, nodeId }, here, chunk.wanted)) this.kickDeletion();
    }
    for (const nodeId of bad) {
      if (await this.deps.replicas.dropBad({ chunkId: chunk.id, nodeId }, reachable)) {
        this.kickDeletion();
        this.#isDue = true;
      }
    }
  }

  async #tell({ verdicts, lostChunks, troubles }: Survey, plan: CopyPlan): Promise<void> {
    const { events, clock } = this.deps;
    const endangered = verdicts.filter(isEndangered).length;
    if (plan.copies.length > 0 && this.#episode === undefined) {
      this.#episode = { startedAt: clock.monotonic(), copiedChunks: 0, copiedBytes: 0, movedChunks: 0 };
      const urgent = endangered === 0 ? '' : `, ${endangered} of them with one copy left`;
      await events.append('repair.started', 'cluster', `${verdicts.length} chunk(s) lack copies${urgent}; copying`);
    }
    if (lostChunks > this.#lost) {
      const problem = `${lostChunks} chunk(s) have no intact copy that can be read now`;
      await events.append('repair.blocked', 'cluster', notice(problem, { key: 'see-status' }));
    }
    this.#lost = lostChunks;
    if (this.#troubles !== undefined) await troubles.tellOwners(this.deps, this.#troubles);
    this.#troubles = troubles;
    const remainingBytes = plan.copies.reduce((sum, copy) => sum + copy.chunk.size, 0);
    this.#status = {
      lackingChunks: verdicts.length,
      endangeredChunks: endangered,
      lostChunks,
      ...troubles.summary(),
      remainingBytes,
      running: 0,
      blocked: [...new Set(plan.blocked.values())].slice(0, 5),
      ...this.#progress(),
    };
    if (plan.copies.length === 0 && this.#episode !== undefined) await this.#finish(verdicts.length);
  }

  async #finish(lacking: number): Promise<void> {
    const { copiedChunks, copiedBytes, rate } = this.#progress();
    this.#episode = undefined;
    const rest = lacking === 0 ? '' : `; ${lacking} chunk(s) still lack copies`;
    const advice: Advice[] = lacking === 0 ? [] : [{ key: 'see-status' }];
    const message = `${copiedChunks} chunk(s), ${copiedBytes} bytes, were copied at ${Math.round(rate / 1e6)} MB/s${rest}`;
    await this.deps.events.append('repair.finished', 'cluster', notice(message, ...advice));
  }

  #progress(): Pick<RepairStatus, 'copiedChunks' | 'copiedBytes' | 'rate'> {
    if (this.#episode === undefined) return { copiedChunks: 0, copiedBytes: 0, rate: 0 };
    const { startedAt, copiedChunks, copiedBytes } = this.#episode;
    const seconds = (this.deps.clock.monotonic() - startedAt) / 1000;
    return { copiedChunks, copiedBytes, rate: seconds > 0 ? copiedBytes / seconds : 0 };
  }

  /** Copies concurrently; ends early when an event may have made something more urgent than what is left. */
  async #copyAll(copies: readonly PlannedCopy[], signal: AbortSignal): Promise<void> {
    const waiting = [...copies];
    const startedAt = this.deps.clock.monotonic();
    const isOutdated = (): boolean => this.#isDue && this.deps.clock.monotonic() - startedAt > BUSY_SURVEY_MS;
    const work = async (): Promise<void> => {
      while (!signal.aborted && !isOutdated()) {
        const at = waiting.findIndex((copy) => this.copier.runningTo(copy.target) < COPIES_PER_TARGET);
        const [copy] = at < 0 ? [] : waiting.splice(at, 1);
        if (copy === undefined) return;
        await this.#copyOne(copy);
      }
    };
    await Promise.all(Array.from({ length: this.deps.settings.repairConcurrency }, work));
  }

  async #copyOne(copy: PlannedCopy): Promise<void> {
    const done = await this.copier.copy(copy);
    const status = this.#status;
    this.#status = { ...status, remainingBytes: Math.max(0, status.remainingBytes - copy.chunk.size) };
    if (done) {
      this.copied.chunks += 1;
      this.copied.bytes += copy.chunk.size;
    }
    if (!done || this.#episode === undefined) return;
    this.#episode.copiedChunks += 1;
    this.#episode.copiedBytes += copy.chunk.size;
    this.#status = {
      ...this.#status,
      lackingChunks: Math.max(0, status.lackingChunks - 1),
      endangeredChunks: Math.max(0, status.endangeredChunks - (copy.isEndangered ? 1 : 0)),
      ...this.#progress(),
    };
    await this.#trimAfter(copy);
  }

  /** Removes a draining node's copy as soon as enough others exist, which frees room and ends the drain early. */
  async #trimAfter({ chunk }: PlannedCopy): Promise<void> {
    const now = await this.deps.replicas.find(chunk.id);
    if (now !== undefined) await this.#trim(judge(now, this.#nodes, this.wandering.get(chunk.id)), this.#nodes);
  }
}

const NOTHING_TO_DO: RepairStatus = {
  lackingChunks: 0,
  endangeredChunks: 0,
  lostChunks: 0,
  ...NO_TROUBLE,
  remainingBytes: 0,
  running: 0,
  copiedChunks: 0,
  copiedBytes: 0,
  rate: 0,
  blocked: [],
};

/**
 * Sandboxes in memory: what code does is a function of the test's, by the text of the code. Scriptable: see FakeScript;
 * calls are named `sandbox.*`.
 */
import { NexusError } from '../../shared/errors.js';
import { FakeScript } from './script.js';
import type { NodeId } from '../../shared/ids.js';
import type {
  Invocation,
  Sandbox,
  SandboxEnd,
  SandboxLimits,
  SandboxRuntime,
  SandboxStream,
} from '../../controller/lambda/sandbox/port.js';

export interface FakeRun {
  readonly invocation: Invocation;
  say(stream: SandboxStream, text: string): void;
  /** Aborted when the sandbox is ended: whoever waits longer waits for nothing. */
  readonly killed: AbortSignal;
}

/** Answers the exit code, or more of the end. */
export type FakeCode = (run: FakeRun) => Promise<number | Partial<SandboxEnd>>;

const KILLED: SandboxEnd = { exitCode: 137, peakMemoryBytes: 1, outOfMemory: false, isLost: false };

export class FakeSandbox implements Sandbox {
  readonly ended: Promise<SandboxEnd>;
  #wasEnded = false;
  #hasStarted = false;
  #isOver = false;
  readonly #kill = new AbortController();
  #finish: (end: SandboxEnd) => void = () => undefined;

  constructor(
    readonly nodeId: NodeId,
    private readonly codeOf: (text: string) => FakeCode,
  ) {
    this.ended = new Promise((resolve) => {
      this.#finish = (end) => {
        this.#isOver = true;
        resolve(end);
      };
    });
  }

  get wasEnded(): boolean {
    return this.#wasEnded;
  }

  async start(invocation: Invocation, onOutput: (stream: SandboxStream, data: Buffer) => void): Promise<void> {
    if (this.#hasStarted) throw new NexusError('internal', 'a sandbox serves one invocation only');
    if (this.#isOver) throw new NexusError('unavailable', 'the sandbox has ended');
    this.#hasStarted = true;
    for (const file of invocation.files) await file.content();
    const run: FakeRun = {
      invocation,
      killed: this.#kill.signal,
      say: (stream, text) => {
        if (!this.#isOver) onOutput(stream, Buffer.from(text));
      },
    };
    void this.codeOf(invocation.code)(run).then((end) => {
      this.#finish({ ...KILLED, ...(typeof end === 'number' ? { exitCode: end } : { exitCode: 0, ...end }) });
    });
  }

  /** As one that dies by itself while it waits. */
  die(): void {
    this.#finish(KILLED);
  }

  async destroy(): Promise<void> {
    if (this.#isOver) return;
    this.#wasEnded = true;
    this.#kill.abort();
    this.#finish(KILLED);
    await this.ended;
  }
}

export class FakeSandboxes implements SandboxRuntime {
  readonly living = new Set<FakeSandbox>();
  /** By the text of the code; anything else ends with 0. */
  readonly programs = new Map<string, FakeCode>();
  /** Nodes that have a cgroup to make sandboxes in; undefined: all. */
  nodes: ReadonlySet<NodeId> | undefined;

  constructor(readonly script = new FakeScript()) {}

  prepare(nodes: readonly NodeId[]): Promise<void> {
    return this.script.run('sandbox.prepare', nodes.join(' '), () => undefined);
  }

  /** Bytes by node. */
  readonly besides = new Map<NodeId, number>();

  memoryBesides(node: NodeId): Promise<number | undefined> {
    return Promise.resolve(this.besides.get(node));
  }

  create(node: NodeId, _limits: SandboxLimits, signal: AbortSignal): Promise<Sandbox> {
    return this.script.run('sandbox.create', node, () => {
      if (signal.aborted) throw new NexusError('cancelled', 'making a sandbox was cancelled');
      if (this.nodes?.has(node) === false) throw new NexusError('unavailable', 'the cgroup of the node is gone');
      const sandbox = new FakeSandbox(node, (text) => this.programs.get(text) ?? (async () => 0));
      this.living.add(sandbox);
      void sandbox.ended.then(() => this.living.delete(sandbox));
      return sandbox;
    });
  }

  destroy(): Promise<void> {
    return this.script.run('sandbox.dispose', '', async () => {
      await Promise.all([...this.living].map((sandbox) => sandbox.destroy()));
    });
  }
}

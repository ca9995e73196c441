/** One fork of the template: five connections to it, its cgroup, and its end. */
import type { Socket } from 'node:net';
import { cancel, every } from '../../../shared/async/timers.js';
import { deferred, endsWithin, outcome } from '../../../shared/async/wait.js';
import { NexusError } from '../../../shared/errors.js';
import type { NodeId } from '../../../shared/ids.js';
import type { Logger } from '../../../shared/log.js';
import { plainText } from '../../../shared/plain-text.js';
import type { SandboxCgroups } from './cgroup.js';
import type { Invocation, Sandbox, SandboxEnd } from './port.js';

/** Exit code of a killed process; used for a sandbox whose launcher ended before it could report one. */
const KILLED = 137;
/** The launcher reacts to a kill within milliseconds; if not, connections are closed and the cgroup is killed. */
const KILL_TIMEOUT_MS = 2000;
const KEPT_ERROR_BYTES = 2000;
/** v1 kills one process at a time; the rest of the sandbox is killed within this interval. */
const MEMORY_POLL_MS = 200;

export interface Connections {
  readonly control: Socket;
  readonly input: Socket;
  readonly output: Socket;
  readonly errors: Socket;
  readonly result: Socket;
}

export interface SandboxPlace {
  readonly nodeId: NodeId;
  readonly cgroup: string;
  readonly memoryBytes: number;
}

type OnOutput = Parameters<Sandbox['start']>[1];

export class TemplateSandbox implements Sandbox {
  readonly nodeId: NodeId;
  readonly ended: Promise<SandboxEnd>;
  #onOutput: OnOutput | undefined;
  #hasStarted = false;
  #isOver = false;
  #wasEnded = false;
  #said = '';
  #memoryPoll: NodeJS.Timeout | undefined;
  readonly #ready = deferred();

  constructor(
    private readonly connections: Connections,
    private readonly place: SandboxPlace,
    private readonly cgroups: SandboxCgroups,
    private readonly log: Logger,
  ) {
    this.nodeId = place.nodeId;
    this.ended = this.#follow();
  }

  /** Codes: internal, with the reason, if it ends before; unavailable if its template ended; deadline_exceeded. */
  async waitReady(timeoutMs: number): Promise<void> {
    const either = Promise.race([this.#ready.promise, this.ended]);
    const isInTime = await endsWithin(timeoutMs, either);
    const end = isInTime ? await either : undefined;
    if (end !== undefined) {
      if (end.isLost) throw new NexusError('unavailable', 'the template of the sandboxes ended; try again');
      const said = this.#said.trim();
      this.log.error({ said }, 'a sandbox did not start');
      const detail = plainText(said.split('\n').at(-1) ?? '');
      throw new NexusError('internal', 'a sandbox did not start; its output is in the controller’s log', {
        detail,
      });
    }
    if (!isInTime) {
      await this.destroy();
      throw new NexusError('deadline_exceeded', `a sandbox was not ready within ${timeoutMs} ms`);
    }
  }

  async start(invocation: Invocation, onOutput: OnOutput): Promise<void> {
    if (this.#hasStarted) throw new NexusError('internal', 'a sandbox serves one invocation only');
    if (this.#isOver) throw new NexusError('unavailable', 'the sandbox has ended');
    this.#hasStarted = true;
    this.#onOutput = onOutput;
    const { nodeId, cgroup, memoryBytes } = this.place;
    if (memoryBytes !== invocation.memoryBytes) {
      await this.cgroups.setMemory(nodeId, cgroup, invocation.memoryBytes);
    }
    const { code, event, files, stdin } = invocation;
    const head = Buffer.from(
      JSON.stringify({
        code,
        files: files.map(({ path, size }) => ({ path, size })),
        ...(event === undefined ? {} : { event }),
      }),
    );
    const size = Buffer.alloc(4);
    size.writeUInt32BE(head.length);
    const { input } = this.connections;
    input.write(Buffer.concat([size, head]));
    if (!this.cgroups.canKillTogether) this.#endWhenShortOfMemory();
    for (const file of files) await written(input, await file.content());
    input.end(stdin);
  }

  /** Where the kernel can't do it: if one process is killed for want of memory, all are. */
  #endWhenShortOfMemory(): void {
    // The sandbox may have ended while its limit was set.
    if (this.#isOver) return;
    const { nodeId, cgroup } = this.place;
    const look = async (): Promise<void> => {
      const { outOfMemory } = await this.cgroups.usage(nodeId, cgroup);
      if (outOfMemory !== false && !this.#isOver) this.connections.control.write('k');
    };
    this.#memoryPoll = every(MEMORY_POLL_MS, () => void look());
  }

  get wasEnded(): boolean {
    return this.#wasEnded;
  }

  async destroy(): Promise<void> {
    const { control } = this.connections;
    if (!this.#isOver) {
      this.#wasEnded = true;
      control.write('k');
    }
    if (await endsWithin(KILL_TIMEOUT_MS, this.ended)) return;
    for (const socket of Object.values(this.connections) as Socket[]) socket.destroy();
    await this.ended;
  }

  async #follow(): Promise<SandboxEnd> {
    const { control, input, output, errors, result } = this.connections;
    let report = '';
    control.on('data', (piece: Buffer) => {
      report += piece.toString('utf8');
    });
    output.on('data', (piece: Buffer) => {
      this.#receive(piece);
    });
    errors.on('data', (piece: Buffer) => {
      if (this.#onOutput === undefined) this.#said = (this.#said + piece.toString('utf8')).slice(-KEPT_ERROR_BYTES);
      else this.#onOutput('stderr', piece);
    });
    result.on('data', (piece: Buffer) => {
      this.#onOutput?.('result', piece);
    });
    input.resume();
    control.once('close', () => input.destroy());
    await Promise.all([control, input, output, errors, result].map(closed));
    this.#isOver = true;
    cancel(this.#memoryPoll);
    const { nodeId, cgroup } = this.place;
    const usage = await this.cgroups.usage(nodeId, cgroup);
    await this.cgroups.remove(nodeId, cgroup).catch((error: unknown) => {
      this.log.error({ err: error, cgroup }, 'a sandbox could not be removed; the next start tries again');
    });
    // Without a report the launcher has ended, and the sandbox with it.
    return { exitCode: exitCodeIn(report), ...usage, isLost: report === '' };
  }

  /** The first byte reports that the interpreter is up; all later ones come from the code. */
  #receive(piece: Buffer): void {
    if (this.#onOutput !== undefined) this.#onOutput('stdout', piece);
    else this.#ready.resolve();
  }
}

function exitCodeIn(report: string): number {
  if (report === '') return KILLED;
  // A launcher that was killed while it wrote leaves half a report.
  const [, code] = /^\{"exit_code": ?(\d{1,3})\}\s*$/.exec(report) ?? [];
  return code === undefined ? KILLED : Number(code);
}

/** Waits for close, which follows every error: a process that dies with unread input resets the connection. */
const closed = (socket: Socket): Promise<void> =>
  outcome((resolve) => {
    socket.on('error', () => undefined);
    socket.once('close', () => resolve());
    return undefined;
  });

/** Resolves when the bytes are written; at once if the sandbox has ended. */
const written = (socket: Socket, bytes: Uint8Array): Promise<void> =>
  outcome((resolve) => {
    if (socket.destroyed) resolve();
    else socket.write(bytes, () => resolve());
    return undefined;
  });

/**
 * A bus in memory, and agents on it that a test speaks for. Scriptable: see FakeScript; calls are named `bus.*`.
 * Credentials are the node's own name, so that an agent can be seen to speak for itself alone.
 */
import { isErrorCode, NexusError, type ErrorCode } from '../../shared/errors.js';
import { FakeScript } from './script.js';
import { AgentCommand, AgentReply, type AgentHeartbeat, type AgentReport } from '../../shared/gen/nexus/v1/agent.js';
import type { NodeId } from '../../shared/ids.js';
import type { AgentBus, BusListener } from '../../controller/bus/port.js';

export type FakeAnswer = (command: AgentCommand) => Promise<Partial<AgentReply>>;

const DONE: AgentReply = AgentReply.fromPartial({});

export class FakeBus implements AgentBus {
  readonly url = 'nats://fake';
  readonly serverPid = 0;
  readonly #agents = new Map<NodeId, FakeAnswer | undefined>();
  #listener: BusListener | undefined;
  #isUp = false;
  /** Off: the server keeps its connections and passes nothing on. */
  passesMessages = true;
  /** How often its server was replaced. */
  replacements = 0;
  #onGone: (() => void)[] = [];

  constructor(readonly script = new FakeScript()) {}

  start(listener: BusListener): Promise<void> {
    return this.script.run('bus.start', '', () => {
      this.#listener = listener;
      this.#isUp = true;
    });
  }

  request(node: NodeId, command: AgentCommand, timeoutMs: number): Promise<AgentReply> {
    return this.script.run('bus.request', node, async () => {
      if (!this.#isUp || !this.passesMessages) throw busIsGone();
      const answer = this.#agents.get(node);
      if (answer === undefined) throw silent(node, 'unavailable', 'is not connected to the bus');
      // As it goes over the wire, which takes not every number.
      const received = AgentCommand.decode(AgentCommand.encode(command).finish());
      const reply = { ...DONE, ...(await this.#within(timeoutMs, node, answer(received))) };
      if (reply.errorCode === '') return reply;
      throw new NexusError(isErrorCode(reply.errorCode) ? reply.errorCode : 'internal', reply.errorMessage);
    });
  }

  pulse(): Promise<boolean> {
    return Promise.resolve(this.#isUp && this.passesMessages);
  }

  replaceServer(): Promise<boolean> {
    this.replacements += 1;
    return Promise.resolve(true);
  }

  issueCredentials(node: NodeId): Promise<string> {
    return this.script.run('bus.issueCredentials', node, () => node);
  }

  close(): Promise<void> {
    return this.script.run('bus.stop', '', () => {
      this.#isUp = false;
      this.#agents.clear();
    });
  }

  /** An agent with these credentials connects; without an answer it hears commands and says nothing. */
  connect(credentials: string, answer: FakeAnswer = () => new Promise(() => undefined)): FakeAgentLink {
    const node = credentials as NodeId;
    this.#agents.set(node, answer);
    const publish = (subject: NodeId, tell: (listener: BusListener) => void): void => {
      const isAllowed = subject === node && this.#agents.has(node);
      if (this.#isUp && isAllowed && this.#listener !== undefined) tell(this.#listener);
    };
    return {
      heartbeat: (heartbeat, of = node) => publish(of, (listener) => listener.heartbeat(of, heartbeat)),
      report: (report, of = node) => publish(of, (listener) => listener.report(of, report)),
      close: () => {
        if (this.#agents.delete(node) && this.#isUp) this.#listener?.disconnected(node);
      },
    };
  }

  goDown(): void {
    this.#isUp = false;
    this.#listener?.available(false);
    for (const give of this.#onGone.splice(0)) give();
  }

  comeBack(): void {
    this.#isUp = true;
    this.#listener?.available(true);
  }

  async #within<Result>(timeoutMs: number, node: NodeId, work: Promise<Result>): Promise<Result> {
    let timer: NodeJS.Timeout | undefined;
    const failure = new Promise<never>((_resolve, reject) => {
      this.#onGone.push(() => reject(busIsGone()));
      timer = setTimeout(() => {
        reject(silent(node, 'deadline_exceeded', `did not answer within ${timeoutMs} ms`));
      }, timeoutMs);
    });
    return await Promise.race([work, failure]).finally(() => clearTimeout(timer));
  }
}

const silent = (node: NodeId, code: ErrorCode, what: string): NexusError =>
  new NexusError(code, `the agent of ${node} ${what}`, { silentAgent: node });

const busIsGone = (): NexusError => new NexusError('unavailable', 'the bus is not available');

/** What an agent does on the bus. `of` is the node that it pretends to be; what it may not say is not heard. */
export interface FakeAgentLink {
  heartbeat(heartbeat: AgentHeartbeat, of?: NodeId): void;
  report(report: AgentReport, of?: NodeId): void;
  close(): void;
}

/**
 * The agent's side of the bus. The connection comes back by itself for as long as the agent lives; while it is away,
 * what is published is dropped, since only the newest heartbeat and report are worth anything.
 */
export interface AgentBus {
  readonly connected: boolean;
  /** False: there is no connection now, and nothing was kept. */
  publish(subject: string, payload: Uint8Array): boolean;
  /** `answer` must not reject. One subject at most once. */
  serve(subject: string, answer: (request: Uint8Array) => Promise<Uint8Array>): void;
  /** Sends what is on its way and closes; within 2 s. Idempotent. */
  close(): Promise<void>;
}

export interface BusEvents {
  /** On the first connection and on every further one. */
  onConnected(): void;
}

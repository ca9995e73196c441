/** The last commands of the controller, for whoever looks at one agent alone. */
export interface CommandEntry {
  /** ISO 8601. */
  readonly at: string;
  readonly command: string;
  /** `ok` or an error code. */
  readonly result: string;
  readonly duration_ms: number;
}

const KEPT = 20;

export class CommandLog {
  readonly #entries: CommandEntry[] = [];

  /** Newest last. */
  get entries(): readonly CommandEntry[] {
    return this.#entries;
  }

  add(entry: CommandEntry): void {
    this.#entries.push(entry);
    if (this.#entries.length > KEPT) this.#entries.shift();
  }
}

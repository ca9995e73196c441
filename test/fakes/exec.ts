/** A pretended command as an ExecHandle: what the test's function says goes out, what is written comes in. */
import type { ExecHandle, ExecSpec } from '../../controller/hosting/runtime.js';

type Listener = Parameters<ExecHandle['onOutput']>[0];

/** What a pretended program has to work with. Its answer is the exit code. */
export interface FakeCommandIo {
  readonly spec: ExecSpec;
  /** What was written, piece by piece, until the end of input. */
  readonly input: AsyncIterable<Buffer>;
  /** Resolves when the listener has taken it. */
  say(stream: 'stdout' | 'stderr', text: string | Buffer): Promise<void>;
}

export type FakeProgram = (io: FakeCommandIo) => Promise<number>;

const SIGNAL_NUMBERS: Readonly<Record<string, number>> = { HUP: 1, INT: 2, KILL: 9, TERM: 15 };

export class FakeExec implements ExecHandle {
  readonly exited: Promise<number>;
  /** Its command line. */
  readonly command: string;
  size: { readonly columns: number; readonly rows: number };
  #exit: (code: number) => void = () => undefined;
  #hasExited = false;
  #listen: (listener: Listener) => void = () => undefined;
  readonly #listener = new Promise<Listener>((resolve) => {
    this.#listen = resolve;
  });
  readonly #pending: Buffer[] = [];
  #inputEnded = false;
  #wake = (): void => undefined;

  constructor(program: FakeProgram, spec: ExecSpec) {
    this.size = { columns: spec.columns, rows: spec.rows };
    this.command = spec.command.join(' ');
    this.exited = new Promise((resolve) => {
      this.#exit = (code) => {
        this.#hasExited = true;
        this.#wake();
        resolve(code);
      };
    });
    const io = { spec, input: this.#input(), say: this.#say.bind(this) };
    program(io).then(
      (code) => {
        this.#exit(code);
      },
      () => {
        this.#exit(1);
      },
    );
  }

  onOutput(listener: Listener): void {
    this.#listen(listener);
  }

  write(data: Uint8Array): Promise<void> {
    if (!this.#hasExited) this.#pending.push(Buffer.from(data));
    this.#wake();
    return Promise.resolve();
  }

  endInput(): void {
    this.#inputEnded = true;
    this.#wake();
  }

  resize(columns: number, rows: number): void {
    this.size = { columns, rows };
  }

  signal(name: string): void {
    this.#exit(128 + (SIGNAL_NUMBERS[name] ?? 0));
  }

  async kill(): Promise<void> {
    this.signal('KILL');
  }

  async #say(stream: 'stdout' | 'stderr', text: string | Buffer): Promise<void> {
    const listener = await this.#listener;
    // A command that has ended says no more.
    if (!this.#hasExited) await listener(stream, Buffer.from(text)).catch(() => undefined);
  }

  async *#input(): AsyncGenerator<Buffer> {
    while (!this.#hasExited) {
      const piece = this.#pending.shift();
      if (piece !== undefined) yield piece;
      else if (this.#inputEnded) return;
      else await new Promise<void>((resolve) => (this.#wake = resolve));
    }
  }
}

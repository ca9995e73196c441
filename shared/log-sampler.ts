/**
 * How often what strangers cause is logged: some lines of each peer in a period, and with the first one of a later period
 * how many were left out. Peers that are remembered are bounded, too; all beyond share one place.
 */
export interface SampleBounds {
  readonly linesPerPeriod: number;
  readonly periodMs: number;
  readonly peers: number;
}

interface Window {
  startedAt: number;
  lines: number;
  leftOut: number;
}

const USUAL: SampleBounds = { linesPerPeriod: 5, periodMs: 10_000, peers: 256 };
const OTHERS = '';

export class LogSampler {
  readonly #windows = new Map<string, Window>();

  /** `now`: monotonic ms. */
  constructor(
    private readonly now: () => number,
    private readonly bounds: SampleBounds = USUAL,
  ) {}

  /** Undefined: leave the line out. Else how many of this peer's were left out before it. */
  admit(peer: string): { readonly leftOut: number } | undefined {
    const now = this.now();
    const { linesPerPeriod, periodMs } = this.bounds;
    const key = this.#windows.has(peer) || this.#makePlace(now) ? peer : OTHERS;
    const window = this.#windows.get(key) ?? { startedAt: now, lines: 0, leftOut: 0 };
    this.#windows.set(key, window);
    if (now - window.startedAt >= periodMs) Object.assign(window, { startedAt: now, lines: 0 });
    if (window.lines >= linesPerPeriod) {
      window.leftOut += 1;
      return undefined;
    }
    window.lines += 1;
    const { leftOut } = window;
    window.leftOut = 0;
    return { leftOut };
  }

  /** Peers that have been quiet are forgotten, those that others were left out of only once that was told. */
  #makePlace(now: number): boolean {
    if (this.#windows.size < this.bounds.peers) return true;
    for (const [peer, { startedAt, leftOut }] of this.#windows) {
      if (now - startedAt >= this.bounds.periodMs && leftOut === 0) this.#windows.delete(peer);
    }
    return this.#windows.size < this.bounds.peers;
  }
}

/** Serialises work by key: one holder at a time for each key, waiters in order. Keys that nobody holds take no memory. */
export class KeyedMutex<Key> {
  readonly #tails = new Map<Key, Promise<void>>();

  isLocked(key: Key): boolean {
    return this.#tails.has(key);
  }

  /** Waits for its turn without a bound; holders are to end in bounded time. */
  async run<Result>(key: Key, work: () => Promise<Result>): Promise<Result> {
    const before = this.#tails.get(key);
    const result = (async () => {
      await before;
      return await work();
    })();
    const tail = result.then(
      () => undefined,
      () => undefined,
    );
    this.#tails.set(key, tail);
    try {
      return await result;
    } finally {
      if (this.#tails.get(key) === tail) this.#tails.delete(key);
    }
  }
}

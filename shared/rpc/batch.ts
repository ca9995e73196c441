/**
 * What is written within one turn of the event loop goes as one message: each message costs a stream's frames and
 * wake-ups at both ends, and under load many calls are made and answered in a turn. What the other side does not take
 * waits here.
 */

/** A message may be 4 MiB; one more item must still fit. */
const FULL_BYTES = 512 * 1024;

interface Sink<Item> {
  /** Sends one message; false: wait for `drained`. */
  write(items: readonly Item[]): boolean;
}

export class Batch<Item> {
  #waiting: { readonly item: Item; readonly bytes: number }[] = [];
  #isScheduled = false;
  #isBlocked = false;

  constructor(private readonly sink: Sink<Item>) {}

  /** `bytes`: about what it takes in a message. */
  add(item: Item, bytes: number): void {
    this.#waiting.push({ item, bytes });
    this.#schedule();
  }

  /** The other side takes more. */
  drained(): void {
    this.#isBlocked = false;
    if (this.#waiting.length > 0) this.#schedule();
  }

  /** Sends at once what it may. */
  flush(): void {
    while (this.#waiting.length > 0 && !this.#isBlocked) {
      let bytes = 0;
      let count = 0;
      for (const waiting of this.#waiting) {
        if (count > 0 && bytes + waiting.bytes > FULL_BYTES) break;
        bytes += waiting.bytes;
        count += 1;
      }
      const items = this.#waiting.splice(0, count).map(({ item }) => item);
      this.#isBlocked = !this.sink.write(items);
    }
  }

  #schedule(): void {
    if (this.#isScheduled || this.#isBlocked) return;
    this.#isScheduled = true;
    setImmediate(() => {
      this.#isScheduled = false;
      this.flush();
    });
  }
}

/**
 * Combines the items added within one turn of the event loop into one message: each message costs frames and wake-ups
 * at both ends, and under load many calls are made and answered per turn. One message is in flight at a time; later
 * items queue here. A message has at most one large item, so that small ones never wait for more than one of them.
 */

/** Most bytes of small items in a message; the message may have 4 MiB, and one large item must still fit. */
const FULL_BYTES = 256 * 1024;
/** Items above this size are large. */
const SMALL_BYTES = 16 * 1024;

interface Sink<Item> {
  /** Sends one message; `taken` is called when the transport has it. */
  write(items: readonly Item[], taken: () => void): void;
}

interface Waiting<Item> {
  readonly item: Item;
  readonly bytes: number;
}

export class Batch<Item> {
  readonly #small: Waiting<Item>[] = [];
  readonly #large: Item[] = [];
  #isScheduled = false;
  #isBusy = false;

  constructor(private readonly sink: Sink<Item>) {}

  /** `bytes`: approximate size in a message. */
  add(item: Item, bytes: number): void {
    if (bytes > SMALL_BYTES) this.#large.push(item);
    else this.#small.push({ item, bytes });
    if (this.#isScheduled || this.#isBusy) return;
    this.#isScheduled = true;
    setImmediate(() => {
      this.#isScheduled = false;
      this.#send();
    });
  }

  /** Takes back an item; false if it is on its way already. */
  withdraw(item: Item): boolean {
    const small = this.#small.findIndex((waiting) => waiting.item === item);
    if (small >= 0) return this.#small.splice(small, 1).length > 0;
    const large = this.#large.indexOf(item);
    return large >= 0 && this.#large.splice(large, 1).length > 0;
  }

  /** Sends everything without waiting; nothing follows. */
  flush(): void {
    while (!this.#isEmpty) this.sink.write(this.#next(), () => undefined);
  }

  #send(): void {
    if (this.#isBusy || this.#isEmpty) return;
    this.#isBusy = true;
    this.sink.write(this.#next(), () => {
      this.#isBusy = false;
      this.#send();
    });
  }

  get #isEmpty(): boolean {
    return this.#small.length + this.#large.length === 0;
  }

  #next(): Item[] {
    let bytes = 0;
    let count = 0;
    for (const waiting of this.#small) {
      if (bytes + waiting.bytes > FULL_BYTES) break;
      bytes += waiting.bytes;
      count += 1;
    }
    return [...this.#small.splice(0, count).map(({ item }) => item), ...this.#large.splice(0, 1)];
  }
}

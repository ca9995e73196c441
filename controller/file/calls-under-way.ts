/**
 * Uploads whose sender's call is being answered. Its lease does not run out meanwhile: it may wait for other uploads'
 * turns for longer than a lease lasts, and a sender that waits for an answer is no silent one.
 */
import type { UploadId } from '../../shared/ids.js';

export class CallsUnderWay {
  readonly #counts = new Map<UploadId, number>();

  has(upload: UploadId): boolean {
    return this.#counts.has(upload);
  }

  async during<Result>(upload: UploadId, work: () => Promise<Result>): Promise<Result> {
    this.#counts.set(upload, (this.#counts.get(upload) ?? 0) + 1);
    try {
      return await work();
    } finally {
      const left = (this.#counts.get(upload) ?? 1) - 1;
      if (left === 0) this.#counts.delete(upload);
      else this.#counts.set(upload, left);
    }
  }
}

/** A progress bar with rate and time left on standard error; nothing at all when that is not a terminal. */
import { systemClock } from '../../shared/async/clock.js';
import type { Output } from './streams.js';
import { formatBytes } from './format.js';

export interface Progress {
  add(bytes: number): void;
  close(): void;
}

const SILENT: Progress = { add: () => undefined, close: () => undefined };
const FRAMES_PER_SECOND = 8;

/** `totalBytes` 0: unknown, so there is no bar, only amount and rate. */
export async function openProgress(title: string, totalBytes: number, output: Output): Promise<Progress> {
  if (output.isTTY !== true) return SILENT;
  const { SingleBar } = await import('./progress-bar.js');
  const startedAt = systemClock.monotonic();
  const rate = (bytes: number): string =>
    `${formatBytes(Math.round(bytes / Math.max(0.001, (systemClock.monotonic() - startedAt) / 1000)))}/s`;
  const whole = `${title} {bar} {percentage}% | {amount} of {whole} | {rate} | {eta_formatted} left`;
  const bar = new SingleBar({
    format: totalBytes > 0 ? whole : `${title} {amount} | {rate}`,
    stream: output as unknown as NodeJS.WritableStream,
    fps: FRAMES_PER_SECOND,
    barsize: 24,
    hideCursor: true,
    clearOnComplete: true,
  });
  let done = 0;
  const payload = (): Record<string, string> => ({
    amount: formatBytes(done),
    whole: formatBytes(totalBytes),
    rate: rate(done),
  });
  bar.start(totalBytes, 0, payload());
  return {
    add: (bytes) => {
      done += bytes;
      bar.update(done, payload());
    },
    close: () => {
      bar.stop();
    },
  };
}

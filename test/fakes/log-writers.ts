/** Log writers without processes: what is written goes straight into the file, which has no bound. */
import { appendFileSync, closeSync, openSync } from 'node:fs';
import type { LogInput, LogPlace, LogWriters } from '../../controller/log/port.js';

export class FakeLogWriters implements LogWriters {
  async open({ path }: LogPlace, first: string): Promise<LogInput> {
    appendFileSync(path, first, { mode: 0o600 });
    const output = openSync(path, 'a', 0o600);
    return {
      output,
      close: () => {
        closeSync(output);
      },
    };
  }

  async settle(): Promise<void> {
    // Written at once.
  }
}

/** The standard streams as the CLI sees them, so that tests can run commands without a process of their own. */
import { outcome } from '../../shared/async/wait.js';
import { systemError } from '../local/system-error.js';

export interface Output {
  write(data: string | Uint8Array, done?: (error?: Error | null) => void): boolean;
  readonly isTTY?: boolean;
  readonly columns?: number;
  readonly rows?: number;
}

export interface Streams {
  readonly stdin: NodeJS.ReadableStream & { readonly isTTY?: boolean; setRawMode?(raw: boolean): unknown };
  readonly stdout: Output;
  readonly stderr: Output;
  readonly env: NodeJS.ProcessEnv;
}

/** How results are printed. */
export const OUTPUT_FORMATS = ['table', 'json', 'yaml'] as const;
export type OutputFormat = (typeof OUTPUT_FORMATS)[number];

/**
 * Resolves when the data has been handed to the system: the backpressure of everything that streams to standard output.
 * `signal` ends the wait for a reader that does not read. Codes: resource_exhausted (a full disk), unavailable (whoever
 * read it has gone), and the signal's reason.
 */
export const writeTo = (output: Output, data: Uint8Array | string, signal?: AbortSignal): Promise<void> =>
  outcome(
    (resolve, reject) => {
      output.write(data, (error) => {
        if (error) reject(systemError(error, 'cannot write the output', 'send it somewhere else'));
        else resolve();
      });
      return undefined;
    },
    { signal },
  );

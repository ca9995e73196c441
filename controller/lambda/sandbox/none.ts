/** For the process runtime, which isolates nothing: code of others is not run at all, and whoever asks is told why. */
import { NexusError } from '../../../shared/errors.js';
import type { Sandbox, SandboxRuntime } from './port.js';

export class NoSandboxes implements SandboxRuntime {
  prepare(): Promise<void> {
    return Promise.resolve();
  }

  memoryBesides(): Promise<undefined> {
    return Promise.resolve(undefined);
  }

  create(): Promise<Sandbox> {
    return Promise.reject(
      new NexusError(
        'failed_precondition',
        'the process runtime has no sandboxes; start the cluster with --runtime runc',
      ),
    );
  }

  destroy(): Promise<void> {
    return Promise.resolve();
  }
}

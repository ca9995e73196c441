/** A child process over pipes as an ExecHandle, with back-pressure both ways. */
import type { ChildProcess } from 'node:child_process';
import type { ExecHandle } from './port.js';

export function pipedHandle(child: ChildProcess, exited: Promise<number>, kill: () => Promise<void>): ExecHandle {
  // The command may close its input whenever it likes.
  child.stdin?.on('error', () => undefined);
  return {
    exited,
    kill,
    onOutput: (listener) => {
      pipeOutput(child, listener);
    },
    write: (data) => writeTo(child, data),
    endInput: () => {
      child.stdin?.end();
    },
    resize: () => undefined,
    signal: (name) => {
      child.kill(`SIG${name}` as NodeJS.Signals);
    },
  };
}

function pipeOutput(child: ChildProcess, listener: Parameters<ExecHandle['onOutput']>[0]): void {
  for (const name of ['stdout', 'stderr'] as const) {
    const stream = child[name];
    stream?.on('data', (data: Buffer) => {
      stream.pause();
      listener(name, data).then(
        () => stream.resume(),
        // The listener's side is gone; what the command still says is dropped so that it can end.
        () => stream.resume(),
      );
    });
  }
}

function writeTo(child: ChildProcess, data: Uint8Array): Promise<void> {
  return new Promise((resolve) => {
    const { stdin } = child;
    if (stdin === null || !stdin.writable) {
      resolve();
      return;
    }
    stdin.write(data, () => {
      resolve();
    });
  });
}

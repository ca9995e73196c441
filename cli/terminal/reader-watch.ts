/**
 * Whether somebody still reads standard output, for commands that may have nothing to write for hours: `nexus events -f |
 * head -1`. The end of a pipe's reader shows in a write, or to poll(2), which Node has not for an end that is only written
 * to. tail(1) of coreutils 8.28 and later polls its own standard output, and gets ours.
 */
import { fstatSync } from 'node:fs';
import { startChild } from '../../shared/exec.js';
import type { Context } from '../runner/context.js';

/** Aborts the command when the reader has gone. Where there is no such tail, the next write finds out. */
export function watchReader({ interrupts, streams }: Context): Disposable {
  if (streams.stdout !== process.stdout || !isPipe()) return { [Symbol.dispose]: () => undefined };
  // Its own end comes with ours, whatever ends us.
  const tail = startChild('tail', ['-f', `--pid=${process.pid}`, '/dev/null'], {
    stdio: ['ignore', 'inherit', 'ignore'],
  });
  tail.once('error', () => undefined);
  tail.once('exit', (_code, signal) => {
    if (signal === 'SIGPIPE') interrupts.abandon();
  });
  tail.unref();
  return {
    [Symbol.dispose]: () => {
      tail.removeAllListeners('exit');
      tail.kill('SIGKILL');
    },
  };
}

function isPipe(): boolean {
  try {
    const found = fstatSync(1);
    return found.isFIFO() || found.isSocket();
  } catch {
    return false;
  }
}

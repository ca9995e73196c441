/** A command on a terminal of its own. */
import { spawn, type IPty, type IPtyForkOptions } from 'node-pty';

export interface OnTerminal {
  readonly terminal: IPty;
  /** All that it has written so far. */
  readonly seen: () => string;
  /** Its exit code. */
  readonly ended: Promise<number>;
}

export function onTerminal(command: string, args: string[], options: IPtyForkOptions): OnTerminal {
  const terminal = spawn(command, args, options);
  let output = '';
  terminal.onData((data) => {
    output += data;
  });
  const ended = new Promise<number>((resolve) => {
    terminal.onExit(({ exitCode }) => {
      resolve(exitCode);
    });
  });
  return { terminal, seen: () => output, ended };
}

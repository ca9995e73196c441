/** `nexus node exec`: a command in a node, with the caller's own standard streams or terminal. */
import { outputNow } from '../../shared/exec.js';
import { after, cancel } from '../../shared/async/timers.js';
import { command } from '../runner/command.js';
import type { Context } from '../runner/context.js';
import type { Controller } from '../connect/connection.js';
import { NexusError } from '../../shared/errors.js';
import { LARGEST_NODE_ID } from '../../shared/limits.js';
import { ExecInNodeRequest } from '../../shared/gen/nexus/v1/node.js';
import { parsePairs } from '../runner/arguments.js';
import { usage } from '../runner/scan.js';
import { writeTo } from '../terminal/streams.js';

/** A command that ends in order takes its time; beyond this somebody who waits wants to know. */
const REMIND_AFTER_MS = 3000;

export const exec = command({
  summary: 'run a command in a node',
  details:
    'The exit code is the command’s own; 127 if there is no such program, 126 if it can’t be run or can’t start in that folder. It runs as root of the node unless --user is given, and ends with this call. Processes that it leaves running stay, and end with the node; their output is not waited for.',
  positionals: { node: { description: 'name, id or unique beginning of an id', completes: 'node' } },
  flags: {
    stdin: { type: 'boolean', short: 'i', description: 'pass standard input on' },
    tty: { type: 'boolean', short: 't', description: 'give the command a terminal' },
    env: { type: 'list', short: 'e', hint: 'KEY=VALUE', description: 'variable; may be given several times' },
    user: { type: 'string', short: 'u', hint: 'UID', description: 'user id to run as (default 0)', field: 'uid' },
    workdir: {
      type: 'string',
      short: 'w',
      hint: 'PATH',
      description: 'folder to run in (default /)',
      field: 'working_dir',
    },
  },
  verbatim: 'COMMAND [ARGUMENT...]',
  examples: [
    ['nexus node exec -it web-1 -- sh', 'a shell'],
    ['nexus node exec web-1 -- ls -l /data', 'one command'],
    ['cat dump.sql | nexus node exec -i db -- tee /root/dump.sql', 'from standard input'],
  ],
  run: async (input, context, verbatim) => {
    if (verbatim.length === 0)
      throw usage('nexus node exec needs a command after --, for example: nexus node exec web-1 -- ls /');
    if (input.tty && context.streams.stdin.isTTY !== true) {
      throw usage('-t needs a terminal on standard input; leave it out in scripts and pipes');
    }
    const uid = input.user === undefined ? 0 : Number(input.user);
    if (!(Number.isInteger(uid) && uid >= 0 && uid <= LARGEST_NODE_ID))
      throw usage(`--user must be a number from 0 to ${LARGEST_NODE_ID}`);
    const controller = await context.connect();
    const start = {
      node: input.node,
      command: [...verbatim],
      tty: input.tty,
      stdin: input.stdin,
      ...terminalSize(context),
      env: { ...terminalName(input.tty, context), ...parsePairs(input.env, 'env') },
      uid,
      workingDir: input.workdir ?? '',
    };
    using _plain = plainTerminal(input.tty, input.stdin, context);
    return await attach(controller, context, start);
  },
});

type Start = NonNullable<ExecInNodeRequest['start']>;
type Stream = ReturnType<Controller['node']['execInNode']>;

async function attach(controller: Controller, context: Context, start: Start): Promise<number> {
  const stream = controller.node.execInNode();
  const say = (message: Partial<ExecInNodeRequest>): boolean => stream.write(ExecInNodeRequest.fromPartial(message));
  say({ start });
  let reminder: NodeJS.Timeout | undefined;
  context.interrupts.takeOver((signal) => {
    say({ signal: signal.slice('SIG'.length) });
    reminder = after(REMIND_AFTER_MS, () => {
      const end = start.tty ? '\r' : '';
      context.note(`nexus: the command received ${signal} and is still running; a second signal ends it${end}`);
    });
  });
  const onResize = (): void => {
    say({ resize: terminalSize(context) });
  };
  if (start.tty) process.on('SIGWINCH', onResize);
  if (start.stdin) passInput(context, stream, say);
  try {
    let exitCode: number | undefined;
    for await (const message of controller.messages(stream) as AsyncGenerator<{
      stdout?: Buffer;
      stderr?: Buffer;
      exitCode?: number;
    }>) {
      if (message.stdout !== undefined) await writeTo(context.streams.stdout, message.stdout);
      if (message.stderr !== undefined) await writeTo(context.streams.stderr, message.stderr);
      if (message.exitCode !== undefined) exitCode = message.exitCode;
    }
    if (exitCode === undefined)
      throw new NexusError('unavailable', 'the controller ended before the command did; see nexus status');
    return exitCode;
  } finally {
    cancel(reminder);
    process.off('SIGWINCH', onResize);
    context.streams.stdin.pause();
    stream.end();
  }
}

/** One piece at a time: the next is read when the transport has taken the last. */
function passInput(context: Context, stream: Stream, say: (message: Partial<ExecInNodeRequest>) => boolean): void {
  const { stdin } = context.streams;
  stdin.on('data', (data: Buffer | string) => {
    if (say({ stdin: Buffer.from(data as Buffer) })) return;
    stdin.pause();
    stream.once('drain', () => stdin.resume());
  });
  stdin.once('end', () => {
    say({ stdinEnd: true });
  });
}

function terminalSize(context: Context): { columns: number; rows: number } {
  const output = context.streams.stdout as { columns?: number; rows?: number };
  return { columns: output.columns ?? 0, rows: output.rows ?? 0 };
}

function terminalName(isTerminal: boolean, context: Context): Record<string, string> {
  const term = context.streams.env['TERM'];
  return isTerminal && term !== undefined ? { TERM: term } : {};
}

/**
 * Bytes pass both ways unchanged, because the terminal in the node does what a terminal does; without -i keys stay this
 * one's, and Ctrl-C with them. It is given back whatever happens. Node's own raw mode goes on making carriage returns.
 */
function plainTerminal(isWanted: boolean, takesKeys: boolean, { streams: { stdin } }: Context): Disposable {
  const saved = isWanted ? stty('-g') : undefined;
  const giveBack = (): void => {
    if (saved === undefined) stdin.setRawMode?.(false);
    else stty(saved);
  };
  if (isWanted) {
    process.once('exit', giveBack);
    if (saved === undefined) stdin.setRawMode?.(takesKeys);
    else stty(...(takesKeys ? ['raw', '-echo', '-iexten'] : ['-opost']));
  }
  return {
    [Symbol.dispose]: () => {
      if (!isWanted) return;
      process.off('exit', giveBack);
      giveBack();
    },
  };
}

/** Its answer; undefined where it does not work. */
function stty(...args: readonly string[]): string | undefined {
  return outputNow('stty', args)?.trim();
}

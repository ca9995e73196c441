/**
 * A command that could not begin, with the exit codes of shells: 127 if there is no such program, 126 if it can't be
 * run.
 */
import { toolFailure } from '../../shared/tool-failure.js';
import { plainText } from '../../shared/plain-text.js';
import type { ExecSpec } from './runtime.js';

export interface StartFailure {
  readonly exitCode: number;
  /** One line for people, without line end, written to the command's standard error. */
  readonly words: string;
  /** The program exists, but not its interpreter or loader; the file itself names that. */
  readonly lacksInterpreter?: true;
}

type Command = Pick<ExecSpec, 'command' | 'uid' | 'workingDir'>;

const MOST_NAME = 200;

const shown = (name: string): string => (name === '' ? '""' : plainText(name, MOST_NAME));
const programOf = ({ command }: Command): string => shown(command[0] ?? '');

export const noProgram = (command: Command): StartFailure => ({
  exitCode: 127,
  words: `nexus: there is no program ${programOf(command)} in the node`,
});

export const notExecutable = (command: Command): StartFailure => ({
  exitCode: 126,
  words: `nexus: ${programOf(command)} cannot be run in the node: it is not executable, or user ${command.uid} has no access to it`,
});

/** Begins the words of the runtime's process in the node, after the runtime itself has ended; see command-keeper.ts. */
export const BY_FIRST_PROCESS = 'in the node: ';

export const noInterpreter = (command: Command, interpreter: string): StartFailure => ({
  exitCode: 127,
  words: `nexus: ${programOf(command)} cannot be run in the node: there is no interpreter ${interpreter}`,
  lacksInterpreter: true,
});

const OUR_BUSYBOX = '/.nexus/rt/bin/busybox';

/** `first`: number on the host of the node's first process, if it is known. */
export const notBegun = (command: Command, afterMs: number, first: number | undefined): StartFailure => ({
  exitCode: 126,
  words: [
    `nexus: ${programOf(command)} did not begin in the node within ${Math.ceil(afterMs / 1000)} s.`,
    'Most likely /etc/passwd or /etc/group there is not a plain file; root of this machine removes such a one with:',
    `nsenter --target ${first ?? 'PID'} --user --mount ${OUR_BUSYBOX} find /etc/passwd /etc/group`,
    `-maxdepth 0 ! -type f -exec ${OUR_BUSYBOX} rm -r {} +`,
  ].join(' '),
});

/** Number of pseudo terminals of a node; the kernel has some thousands for all. */
export const TERMINALS_OF_NODE = 256;

const noTerminal = (command: Command): StartFailure => ({
  exitCode: 126,
  words:
    `nexus: ${programOf(command)} gets no terminal in the node: its programs hold all ${TERMINALS_OF_NODE} that it has, or nodes ` +
    'all that this machine has for them (kernel.pty.max); end such programs, or run it without a terminal',
});

function refusalIn(said: string, command: Command): StartFailure | undefined {
  if (/no such file or directory/i.test(said)) return noInterpreter(command, 'or loader for it');
  if (/permission denied|exec format error/i.test(said)) return notExecutable(command);
  return undefined;
}

/** Returns the last entry of a log in the JSON format of OCI runtimes; other lines are passed over. */
export function lastEntry(log: string): { readonly isError: boolean; readonly words: string } | undefined {
  for (const line of log.split('\n').reverse()) {
    try {
      const entry = JSON.parse(line) as { level?: unknown; msg?: unknown } | null;
      if (typeof entry?.msg === 'string') return { isError: entry.level === 'error', words: entry.msg };
    } catch {
      // Not an entry: crun also writes the end of a terminal's output there.
    }
  }
  return undefined;
}

interface ExecEnd {
  readonly program: string;
  readonly exitCode: number;
}

/** Returns undefined if the log shows no such failure: then the exit code is the command's own. */
export function failureIn(log: string, end: ExecEnd, command: Command): StartFailure | undefined {
  const { program, exitCode } = end;
  const last = lastEntry(log);
  if (last?.isError !== true) return undefined;
  const said = last.words;
  const isRefusal = said.startsWith(BY_FIRST_PROCESS);
  if (!isRefusal && !said.startsWith('exec failed') && exitCode !== EXEC_FAILED) return undefined;
  const refusal = isRefusal ? refusalIn(said, command) : undefined;
  if (refusal !== undefined) return refusal;
  if (/ptmx.*no space left/i.test(said)) return noTerminal(command);
  if (/chdir (to cwd|`)/.test(said)) {
    const folder = shown(command.workingDir);
    const why = /no such file/i.test(said)
      ? 'there is no such folder in the node'
      : 'it is not a folder, or access to it is denied';
    return { exitCode: 126, words: `nexus: the command cannot start in ${folder}: ${why}` };
  }
  if (/executable file not found|no such file or directory|not a directory/i.test(said)) return noProgram(command);
  if (/^(exec failed|open executable)/.test(said) && /permission denied|is a directory/i.test(said))
    return notExecutable(command);
  const { message } = toolFailure(
    `${programOf(command)} cannot be started in the node`,
    { program, verb: 'exec', exitCode, said },
    `its message: ${plainText(said, MOST_NAME)}`,
  );
  return { exitCode: 126, words: `nexus: ${message}` };
}

/** Exit code of runc's `exec` that failed itself, and of the keeper of commands for any program's. */
export const EXEC_FAILED = 255;

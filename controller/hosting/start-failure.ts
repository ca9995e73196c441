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
  words: `nexus: ${programOf(command)} cannot be run in the node: it is no executable file, or user ${command.uid} may not reach it`,
});

/** Matches the words of runc's process in the node, after runc itself has ended; see command-keeper.ts. */
export const BY_FIRST_PROCESS = 'in the node: ';

export const noInterpreter = (command: Command, interpreter: string): StartFailure => ({
  exitCode: 127,
  words: `nexus: ${programOf(command)} cannot be run in the node: there is no interpreter ${interpreter}`,
  lacksInterpreter: true,
});

function refusalIn(said: string, command: Command): StartFailure | undefined {
  if (/no such file or directory/.test(said)) return noInterpreter(command, 'or loader for it');
  if (/permission denied|exec format error/.test(said)) return notExecutable(command);
  return undefined;
}

/** Returns undefined if the log shows no such failure: then the exit code is the command's own. */
export function failureIn(runcLog: string, exitCode: number, command: Command): StartFailure | undefined {
  const last = runcLog.trim().split('\n').at(-1) ?? '';
  const said = /level=error msg="((?:[^"\\]|\\.)*)"/.exec(last)?.[1]?.replaceAll('\\"', '"');
  if (said === undefined) return undefined;
  const isRefusal = said.startsWith(BY_FIRST_PROCESS);
  if (!isRefusal && !said.startsWith('exec failed') && exitCode !== RUNC_FAILED) return undefined;
  const refusal = isRefusal ? refusalIn(said, command) : undefined;
  if (refusal !== undefined) return refusal;
  if (said.includes('chdir to cwd')) {
    const folder = shown(command.workingDir);
    const why = /no such file/.test(said) ? 'there is no such folder in the node' : 'it is no folder that it may enter';
    return { exitCode: 126, words: `nexus: the command cannot begin in ${folder}: ${why}` };
  }
  if (/executable file not found|no such file or directory|not a directory/.test(said)) return noProgram(command);
  if (said.startsWith('exec failed') && /permission denied|is a directory/.test(said)) return notExecutable(command);
  const { message } = toolFailure(
    `${programOf(command)} cannot be started in the node`,
    { program: 'runc', verb: 'exec', exitCode, said },
    `it said: ${plainText(said, MOST_NAME)}`,
  );
  return { exitCode: 126, words: `nexus: ${message}` };
}

/** Exit code of a `runc exec` that failed itself. */
const RUNC_FAILED = 255;

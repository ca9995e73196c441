/**
 * OCI runtimes that containers are made with. All have the same command line; a row here says where one behaves
 * differently. Facts that the command line needs as well are in shared/config/runtimes.ts.
 */
import { assertWorksWith, type RuntimeName } from '../../../shared/config/runtimes.js';
import { NexusError } from '../../../shared/errors.js';
import { detectCgroupLayout, type CgroupLayout } from '../../../shared/cgroup/layout.js';

export interface OciProgram {
  /** As in PATH, and as a value of `--runtime`. */
  readonly name: RuntimeName;
  /** Name of its process in the node, as in /proc/<pid>/stat, until the command takes its place. */
  readonly ownProcess: string;
  /** Whether it switches ONLCR off on a terminal that it makes in the node, while the command already starts. */
  readonly clearsLineEnds: boolean;
  /** Whether it writes what a terminal still holds at the command's end to its log; see `restOfTerminal`. */
  readonly endsInLog: boolean;
  /**
   * Whether its `exec` enters a node's namespaces as root of the node, who must be allowed to look into the first process
   * for that. The agent below it is closed in any case.
   */
  readonly needsOpenInit: boolean;
  /** Pipe in a container's state folder that its first process writes to once somebody reads; undefined: it has none of the kind. */
  readonly startPipe: string | undefined;
  /** File in a container's state folder, and its fields with number and start time (in ticks) of the first process. */
  readonly stateFile: { readonly name: string; readonly pid: string; readonly startTicks: string };
}

export const OCI_PROGRAMS = {
  runc: {
    name: 'runc',
    ownProcess: 'runc:[2:INIT]',
    clearsLineEnds: true,
    endsInLog: false,
    needsOpenInit: false,
    startPipe: 'exec.fifo',
    stateFile: { name: 'state.json', pid: 'init_process_pid', startTicks: 'init_process_start' },
  },
  crun: {
    name: 'crun',
    ownProcess: 'crun',
    clearsLineEnds: false,
    endsInLog: true,
    needsOpenInit: true,
    startPipe: undefined,
    stateFile: { name: 'status', pid: 'pid', startTicks: 'process-start-time' },
  },
} as const satisfies Readonly<Record<string, OciProgram>>;

/** Code: internal if containers are not made with this runtime. */
export function ociProgramOf(runtime: RuntimeName): OciProgram {
  const found = Object.values<OciProgram>(OCI_PROGRAMS).find(({ name }) => name === runtime);
  if (found === undefined) throw new NexusError('internal', `no OCI program for the runtime ${runtime}`);
  return found;
}

/**
 * Returns the layout of the host's cgroups. Code: failed_precondition if the program can't work with it, or if a
 * required controller is missing.
 */
export async function layoutFor({ name }: OciProgram, root?: string): Promise<CgroupLayout> {
  const layout = await detectCgroupLayout(root);
  assertWorksWith(layout, name);
  return layout;
}

/** Global arguments for a log that `lastEntry` reads. */
export const logTo = (file: string): readonly string[] => ['--log', file, '--log-format', 'json'];

/** crun's pieces of a terminal's output; each is followed by a line end that is not the command's. */
const PIECE_BYTES = 255;

/** Returns the end of a terminal's output, as the log of a command that began has it. */
export function restOfTerminal(log: Buffer): Buffer {
  const pieces: Buffer[] = [];
  for (let at = 0; at < log.length; at += PIECE_BYTES + 1)
    pieces.push(log.subarray(at, Math.min(at + PIECE_BYTES, log.length - 1)));
  return Buffer.concat(pieces);
}

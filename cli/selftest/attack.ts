/**
 * Attacks of an escape suite: steps that are carried out one after the other, and a judge of what came of them. The
 * steps are real attacks; a row that can't fail would be worth nothing.
 */

export interface Verdict {
  readonly held: boolean;
  /** The barrier that stopped it, or what it obtained. */
  readonly by: string;
}

export interface Attack<Step, Result> {
  readonly name: string;
  readonly tried: string;
  readonly steps: readonly Step[];
  judge(results: readonly Result[]): Verdict;
}

interface Output {
  readonly stdout: string;
  readonly stderr: string;
}

/**
 * Reads the verdict from the last line of a program's output. A program that is killed or crashes proves nothing, and
 * does not pass; `end` says how it ended.
 */
export function said(result: Output | undefined, end: string): Verdict {
  const last = result?.stdout.trim().split('\n').at(-1) ?? '';
  const { held, broke } = parse(last);
  if (held !== undefined) return { held: true, by: held };
  if (broke !== undefined) return { held: false, by: broke };
  return { held: false, by: `no verdict: ${end}; ${result?.stderr.trim().split('\n').at(-1) ?? ''}` };
}

function parse(line: string): { held?: string; broke?: string } {
  try {
    return JSON.parse(line) as { held?: string; broke?: string };
  } catch {
    return {};
  }
}

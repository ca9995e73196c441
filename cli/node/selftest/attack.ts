/**
 * Attacks on nodes: programs that root of a node runs, and looks at the node and at the host before and after them, as
 * what an attack has changed says more than what it was answered.
 */
import { said as saidBy, type Attack as AnyAttack, type Verdict } from '../../selftest/attack.js';
import type { NodeJson, Surroundings } from './surroundings.js';
import { NODE_PRELUDE } from './prelude.js';

export type Step =
  /** As root of the node, or another user there; `at` the neighbour: in the other node of the suite. */
  | { readonly kind: 'code'; readonly code: string; readonly uid?: number; readonly at?: 'neighbour' }
  /** Asks node and agent how they are. Fails if the agent does not answer. */
  | { readonly kind: 'ask'; readonly at?: 'neighbour' }
  /** Whether it runs or not: stopped, if need be, and started. */
  | { readonly kind: 'restart' }
  /** A program that looks at the host. */
  | { readonly kind: 'look'; look(surroundings: Surroundings): Promise<string> };

export interface StepResult {
  /** The node as JSON after `ask` and `restart`, what was seen after `look`. */
  readonly stdout: string;
  readonly stderr: string;
  readonly exitCode: number;
}

export interface Attack extends AnyAttack<Step, StepResult> {
  /** It harms the node, or needs a neighbour: on nodes that the suite has made alone. */
  readonly isForOwnNodes?: true;
}

/** A program that finally reports whether it got through. */
export function attempt(name: string, tried: string, code: string, uid = 0): Attack {
  return { name, tried, steps: [run(code, { uid })], judge: ([result]) => said(result) };
}

export const run = (code: string, place: { readonly uid?: number; readonly at?: 'neighbour' } = {}): Step => ({
  kind: 'code',
  code: NODE_PRELUDE + code,
  ...place,
});

/** Reads the verdict from the last line of a program's output. */
export function said(result: StepResult | undefined): Verdict {
  return saidBy(result, result === undefined ? 'it did not run' : `exit code ${result.exitCode}`);
}

/** As `attempt`, between two looks at the host, which must show the same. */
export function unchanged(
  name: string,
  tried: string,
  code: string,
  look: (surroundings: Surroundings) => Promise<string>,
): Attack {
  return {
    name,
    tried,
    steps: [{ kind: 'look', look }, run(code), { kind: 'look', look }],
    judge: ([before, result, after]) =>
      before?.stdout === after?.stdout
        ? said(result)
        : { held: false, by: `on the host: ${before?.stdout ?? ''}, then ${after?.stdout ?? ''}` },
  };
}

/**
 * Uses up something of its own node, and has to find an end of it there: afterwards the same agent still answers.
 * `judge` reads the program's own verdict by default.
 */
export function exhaust(
  name: string,
  tried: string,
  code: string,
  judge: (result: StepResult | undefined) => Verdict = said,
): Attack {
  return {
    name,
    tried,
    isForOwnNodes: true,
    steps: [{ kind: 'ask' }, run(code), { kind: 'ask' }],
    judge: ([before, result, after]) => {
      const [first, last] = [nodeOf(before), nodeOf(after)];
      const isSame = last.status === 'Running' && first.agentStartedAt === last.agentStartedAt;
      return isSame ? judge(result) : { held: false, by: `its agent ended; the node is ${last.status}` };
    },
  };
}

/** The answers of `ask` and `restart`. */
export const nodeOf = (result: StepResult | undefined): NodeJson => JSON.parse(result?.stdout ?? '{}') as NodeJson;

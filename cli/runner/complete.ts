/**
 * Finds candidates for the end of a command line in the tree of commands. The cluster is not asked here: `kind` names
 * what of it would fit. A wrong line has no candidates.
 */
import { GLOBAL_FLAGS, type AnyCommand, type Completes, type FlagSpec, type FlagSpecs } from './command.js';
import { isGroup, listed, type Group, type Leaf } from './command-group.js';

/** Kinds of candidates that are not in the tree. */
export type AskedOf = Exclude<Completes, 'command'>;

export interface Candidates {
  /** Words, each followed by a tab and its meaning, unless it is a flag's value. */
  readonly fixed: readonly string[];
  /** Kind of further candidates, from outside the tree. */
  readonly kind: AskedOf | undefined;
  /** The beginning of the word that `kind` completes. */
  readonly typed: string;
  /** Flags of the line that select the cluster and the user. */
  readonly global: {
    readonly instance: string | undefined;
    readonly config: string | undefined;
    readonly asUser: string | undefined;
    readonly url: string | undefined;
    readonly local: boolean;
  };
}

/** `words` excludes the program's name; the last one is to be completed and may be empty. */
export async function candidatesFor(tree: Group, words: readonly string[]): Promise<Candidates> {
  const line = new Line(tree);
  const typed = words.at(-1) ?? '';
  for (const word of words.slice(0, -1)) await line.take(word);
  const { instance, config, as: asUser, url, local } = line.given;
  const global = { instance, config, asUser, url, local: local !== undefined };
  return { ...line.end(typed), global };
}

type End = Pick<Candidates, 'fixed' | 'kind' | 'typed'>;

class Line {
  #entry: Group | Leaf | undefined;
  #command: AnyCommand | undefined;
  #flags: FlagSpecs = GLOBAL_FLAGS;
  /** A flag whose value is the next word. */
  #open: readonly [name: string, spec: FlagSpec] | undefined;
  readonly #positionals: string[] = [];
  #isVerbatim = false;
  readonly given: Record<string, string> = {};

  constructor(private readonly tree: Group) {
    this.#entry = tree;
  }

  async take(word: string): Promise<void> {
    if (this.#isVerbatim) return;
    if (this.#open !== undefined) {
      this.given[this.#open[0]] = word;
      this.#open = undefined;
    } else if (word === '--') this.#isVerbatim = true;
    else if (word.length > 1 && word.startsWith('-')) this.#takeFlag(word);
    else if (this.#command !== undefined) this.#positionals.push(word);
    else await this.#descend(word);
  }

  #takeFlag(word: string): void {
    const [dashed = '', value] = word.startsWith('--') ? splitAt(word, '=') : [word];
    const found = Object.entries(this.#flags).find(([name, { short }]) =>
      dashed.startsWith('--') ? dashed === `--${name}` : dashed.at(-1) === short,
    );
    if (found === undefined) return;
    const [name, spec] = found;
    this.given[name] = value ?? '';
    if (spec.type !== 'boolean' && value === undefined) this.#open = found;
  }

  async #descend(word: string): Promise<void> {
    this.#entry = childOf(this.#entry, word);
    if (this.#entry === undefined || isGroup(this.#entry)) return;
    this.#command = await this.#entry.load();
    this.#flags = { ...GLOBAL_FLAGS, ...this.#command.flags };
  }

  end(typed: string): End {
    if (this.#isVerbatim || this.#entry === undefined) return NOTHING;
    if (this.#open !== undefined) return valuesOf(this.#open[1], typed, '');
    const [dashed = '', value] = splitAt(typed, '=');
    const spec = dashed.startsWith('--') ? this.#flags[dashed.slice(2)] : undefined;
    if (value !== undefined && spec !== undefined) return valuesOf(spec, value, `${dashed}=`);
    if (typed.startsWith('-')) return this.#flagNames(typed);
    if (this.#command !== undefined) return this.#positional(this.#command, typed);
    return { ...NOTHING, fixed: rowsOf(this.#entry, typed) };
  }

  /** Flags that were given are not offered again, unless they may be given several times. */
  #flagNames(typed: string): End {
    const rows = Object.entries(this.#flags)
      .filter(([name, { type }]) => type === 'list' || !Object.hasOwn(this.given, name))
      .filter(([name]) => `--${name}`.startsWith(typed));
    return { ...NOTHING, fixed: rows.map(([name, { description }]) => `--${name}\t${description}`) };
  }

  #positional(command: AnyCommand, typed: string): End {
    const specs = Object.values(command.positionals);
    const last = specs.at(-1);
    const spec = specs[this.#positionals.length] ?? (last?.many === true ? last : undefined);
    if (spec?.completes !== 'command') return { fixed: [], kind: spec?.completes, typed };
    let entry: Group | Leaf | undefined = this.tree;
    for (const word of this.#positionals) entry = childOf(entry, word);
    return { ...NOTHING, fixed: rowsOf(entry, typed) };
  }
}

const childOf = (entry: Group | Leaf | undefined, word: string): Group | Leaf | undefined =>
  entry !== undefined && isGroup(entry) && Object.hasOwn(entry.children, word) ? entry.children[word] : undefined;

function rowsOf(entry: Group | Leaf | undefined, typed: string): string[] {
  if (entry === undefined || !isGroup(entry)) return [];
  return listed(entry)
    .filter(([word]) => word.startsWith(typed))
    .map(([word, { summary }]) => `${word}\t${summary}`);
}

const NOTHING: End = { fixed: [], kind: undefined, typed: '' };

/**
 * `before` is what precedes the value in the same word (`--flag=`); only values that the tree knows can follow it.
 * Values have no meaning of their own: it is shown with the flag's name.
 */
function valuesOf(spec: FlagSpec, typed: string, before: string): End {
  const options = spec.options?.filter((option) => option.startsWith(typed)) ?? [];
  const kind = before === '' && spec.completes !== 'command' ? spec.completes : undefined;
  return { fixed: options.map((option) => `${before}${option}`), kind, typed };
}

/** Splits at the first `mark`; one part if there is none. */
function splitAt(text: string, mark: string): readonly string[] {
  const at = text.indexOf(mark);
  return at < 0 ? [text] : [text.slice(0, at), text.slice(at + 1)];
}

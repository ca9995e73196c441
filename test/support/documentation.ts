/**
 * The command lines of a page of the documentation, as one script. A fence ```` ```sh ```` is run; ```` ```sh not-run: WHY ````
 * is not. Where a page needs something that it does not show, a comment has it:
 *
 *   <!-- run: head -c 1M /dev/zero > big.iso -->              lines that are run at this place; may be several
 *   <!-- let 3f2a = nexus file ls -o json | jq -r .[0].id --> from here on the word stands for what the line prints
 *
 * Lines that go on for ever (-f, --follow) get a Ctrl-C after a while, lines that want a terminal (-it) get one.
 */
export interface Page {
  /** Bash, to be run with -e. */
  readonly script: string;
  /** Lines that stand in fences and are run. */
  readonly shown: number;
  /** Reasons why fences are not run. */
  readonly leftOut: readonly string[];
}

/** A fence of shell under any other name would not be noticed. */
const OTHER_SHELLS = /^```(bash|shell|console|zsh)\b/m;
const PIECE =
  /^```sh(?<info>[^\n]*)\n(?<lines>.*?)^```$|<!-- run:(?<hidden>.*?)-->|<!-- let (?<word>\S+) =(?<command>.*?)-->/gms;
const FOLLOW_SECONDS = 4;

export function readPage(text: string): Page {
  if (OTHER_SHELLS.test(text)) throw new Error('name shell fences "sh", so that their lines are run');
  const words = new Map<string, string>();
  const script: string[] = [];
  const leftOut: string[] = [];
  let shown = 0;
  for (const { groups = {} } of text.matchAll(PIECE)) {
    const { info, lines, hidden, word, command } = groups;
    if (word !== undefined) {
      const variable = `let_${words.size}`;
      script.push(`${variable}=$(${command?.trim() ?? ''})`);
      words.set(word, `$${variable}`);
    } else if (hidden !== undefined) script.push(...hidden.trim().split('\n'));
    else if (info === '') {
      const commands = logicalLines(lines ?? '');
      shown += commands.length;
      script.push(...commands.map((line) => runnable(substitute(line, words))));
    } else {
      const [, reason] = /^ not-run: (.+)$/.exec(info ?? '') ?? [];
      if (reason === undefined)
        throw new Error(`a fence "sh${info ?? ''}" is neither run nor says why: sh not-run: WHY`);
      leftOut.push(reason);
    }
  }
  return { script: script.join('\n'), shown, leftOut };
}

/** Without comments at the end; a line that ends with a backslash goes on. */
const logicalLines = (text: string): string[] =>
  text
    .replaceAll('\\\n', ' ')
    .split('\n')
    .map((line) => line.replace(/(^| )#.*$/, '').trim())
    .filter((line) => line !== '');

const substitute = (line: string, words: ReadonlyMap<string, string>): string =>
  [...words].reduce(
    (changed, [word, value]) => changed.replace(new RegExp(`(?<=^|\\s)${word}(?=\\s|$)`, 'g'), value),
    line,
  );

function runnable(line: string): string {
  if (/ (-f|--follow)( |$)/.test(line)) return `until_interrupted ${FOLLOW_SECONDS} ${line}`;
  if (/ -it /.test(line)) return `in_terminal ${line}`;
  return line;
}

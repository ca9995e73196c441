/** What somebody likely meant who mistyped a word: of a command, a flag, the key of a setting. Pure. */

/**
 * The candidate that differs from `text` by the fewest edits, if by no more than a third of the letters: of two letters
 * one that is changed makes another word. Dashes of flags do not count. `most`: bound of edits, however long the words.
 */
export function nearest(text: string, candidates: readonly string[], most = Infinity): string | undefined {
  const bare = (word: string): string => word.replace(/^-+/, '');
  const mostEdits = (candidate: string): number =>
    Math.min(most, Math.floor(Math.max(bare(text).length, bare(candidate).length) / 3));
  const [best] = candidates
    // Else a text of any length would be compared letter by letter.
    .filter((candidate) => Math.abs(bare(text).length - bare(candidate).length) <= mostEdits(candidate))
    .map((candidate) => ({ candidate, edits: editDistance(bare(text), bare(candidate)) }))
    .sort((a, b) => a.edits - b.edits);
  return best !== undefined && best.edits <= mostEdits(best.candidate) ? best.candidate : undefined;
}

/** Levenshtein, one row at a time; two neighbours that changed places are one edit. */
function editDistance(a: string, b: string): number {
  let before: number[] = [];
  let row = Array.from({ length: b.length + 1 }, (_, column) => column);
  for (let i = 1; i <= a.length; i += 1) {
    const next = [i];
    for (let j = 1; j <= b.length; j += 1) {
      const substitution = (row[j - 1] ?? 0) + (a[i - 1] === b[j - 1] ? 0 : 1);
      let edits = Math.min(substitution, (row[j] ?? 0) + 1, (next[j - 1] ?? 0) + 1);
      if (i > 1 && j > 1 && a[i - 1] === b[j - 2] && a[i - 2] === b[j - 1])
        edits = Math.min(edits, (before[j - 2] ?? 0) + 1);
      next.push(edits);
    }
    before = row;
    row = next;
  }
  return row[b.length] ?? 0;
}

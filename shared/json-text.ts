/**
 * Handles JSON as text, for values that must be passed on exactly as written: JSON.parse reads every number as a
 * double, so that 1.0 and 1 become the same and a long number changes. Expects text that JSON.parse accepts. Pure.
 */

/** Returns the index after the string that begins at `at`. */
function stringEnd(text: string, at: number): number {
  let end = at + 1;
  while (text[end] !== '"') end += text[end] === '\\' ? 2 : 1;
  return end + 1;
}

/** Calls `visit` for each bracket, colon and comma outside strings, with its depth; the outermost value has depth 1. */
function walk(text: string, visit: (character: string, at: number, depth: number) => void): void {
  let depth = 0;
  for (let at = 0; at < text.length; at += 1) {
    const character = text.charAt(at);
    if (character === '"') at = stringEnd(text, at) - 1;
    else if (character === '{' || character === '[') visit(character, at, (depth += 1));
    else if (character === '}' || character === ']') visit(character, at, depth--);
    else if (character === ':' || character === ',') visit(character, at, depth);
  }
}

export function jsonDepth(text: string): number {
  let deepest = 0;
  walk(text, (_character, _at, depth) => {
    deepest = Math.max(deepest, depth);
  });
  return deepest;
}

/** Length of the longest run of digits outside strings; integer part, fraction and exponent count separately. */
export function mostDigits(text: string): number {
  let most = 0;
  for (let at = 0; at < text.length; at += 1) {
    if (text[at] === '"') at = stringEnd(text, at) - 1;
    else {
      const from = at;
      while (isDigit(text.charCodeAt(at))) at += 1;
      most = Math.max(most, at - from);
      if (at > from) at -= 1;
    }
  }
  return most;
}

const isDigit = (code: number): boolean => code >= 48 && code <= 57;

/**
 * Returns a name that occurs twice in one object, where JSON.parse would silently keep the last; undefined if there is
 * none. Ignores the content of the outermost object's member `except`.
 */
export function repeatedMember(text: string, except: string): string | undefined {
  /** Names in each open object, innermost last; undefined for arrays. */
  const open: (Set<string> | undefined)[] = [];
  let from = 0;
  let outermost = '';
  let repeated: string | undefined;
  walk(text, (character, at, depth) => {
    if (character === '{' || character === '[') open.push(character === '{' ? new Set() : undefined);
    else if (character === '}' || character === ']') open.pop();
    else if (character === ':') {
      const name = JSON.parse(text.slice(from, at)) as string;
      if (depth === 1) outermost = name;
      const names = depth > 1 && outermost === except ? undefined : open.at(-1);
      if (names?.has(name) === true) repeated ??= name;
      names?.add(name);
    }
    from = at + 1;
  });
  return repeated;
}

/** Returns the text of a non-empty object with one more member at its end, whose value is inserted as written. */
export function withMember(object: string, name: string, value: string): string {
  const space = /\s*(?=\}$)/.exec(object)?.[0] ?? '';
  const indent = space === '' ? '' : `${space}  `;
  return `${object.slice(0, -1 - space.length)},${indent}${JSON.stringify(name)}: ${value}${space}}`;
}

/** Returns the text of a member of the outermost object; of duplicates the last one, like JSON.parse. */
export function memberText(text: string, name: string): string | undefined {
  let from = 0;
  let key: string | undefined;
  let found: string | undefined;
  walk(text, (character, at, depth) => {
    if (depth !== 1) return;
    if (character === ':') {
      key = JSON.parse(text.slice(from, at)) as string;
      from = at + 1;
      return;
    }
    if (key === name) found = text.slice(from, at).trim();
    key = undefined;
    from = at + 1;
  });
  return found;
}

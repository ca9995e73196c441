/**
 * Texts as a terminal may show them: names, reasons and messages come from people and nodes, and control characters in them
 * would move the cursor, set the title or turn the direction of what stands there. Apart from the tables, which the
 * runner does not load.
 */

/** Control characters, separators of lines, and what turns the direction of text; the same as in shared/plain-text.ts. */
// eslint-disable-next-line no-control-regex
const CONTROLS = /[\u0000-\u001f\u007f-\u009f\u200e\u200f\u2028-\u202e\u2066-\u2069]/g;

/** On one line. */
export const visible = (text: string): string => text.replace(CONTROLS, '?');

/** Tabs and ends of lines stay, those of a raw terminal too. */
export const visibleLines = (text: string): string =>
  text.replace(CONTROLS, (found, at: number) => {
    const isKept = found === '\n' || found === '\t' || (found === '\r' && text[at + 1] === '\n');
    return isKept ? found : '?';
  });

/** JSON leaves the control characters from U+007F on as they are, and some terminals follow them. */
export const jsonText = (value: unknown, indent?: number): string =>
  JSON.stringify(value, null, indent).replace(C1, (found) => `\\u00${hex(found)}`);

/** Of a YAML document, where what has one of them stands in double quotes. */
export const yamlText = (document: string): string => document.replace(C1, (found) => `\\x${hex(found)}`);

const C1 = /[\u007f-\u009f]/g;
const hex = (character: string): string => character.charCodeAt(0).toString(16);

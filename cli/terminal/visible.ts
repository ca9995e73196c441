/**
 * Texts as a terminal may show them: names, reasons and messages come from people and nodes, and control characters in them
 * would move the cursor, set the title or turn the direction of what stands there. Apart from the tables, which the
 * runner does not load.
 */
import { CONTROLS } from '../../shared/plain-text.js';

/** On one line. */
export const visible = (text: string): string => text.replace(CONTROLS, '?');

/** Tabs and ends of lines stay, those of a raw terminal too. */
export const visibleLines = (text: string): string =>
  text.replace(CONTROLS, (found, at: number) => {
    const isKept = found === '\n' || found === '\t' || (found === '\r' && text[at + 1] === '\n');
    return isKept ? found : '?';
  });

/** JSON leaves the control characters from U+007F on as they are, and terminals follow them. */
export const jsonText = (value: unknown, indent?: number): string => escaped(JSON.stringify(value, null, indent));

/**
 * In a JSON document, or a YAML one where what has one of them stands in double quotes. Those below U+007F stand escaped
 * already; what is left of them are the document's own ends of lines.
 */
export const escaped = (document: string): string =>
  document.replace(CONTROLS, (found) =>
    found < '\u007f' ? found : `\\u${found.charCodeAt(0).toString(16).padStart(4, '0')}`,
  );

export const hasControls = (text: string): boolean => text.search(CONTROLS) >= 0;

/**
 * Texts of less trusted origin (agents, what nodes' programs write, images) as logs, events and terminals may show them:
 * no control characters, which would move a cursor or forge a line, and no more than a line or two.
 */
const MOST_CHARACTERS = 500;

/** Control characters, separators of lines, and those that turn the direction of text, so that it reads as another. */
// eslint-disable-next-line no-control-regex
export const CONTROLS = /[\u0000-\u001f\u007f-\u009f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069]/g;

export function plainText(text: string, most = MOST_CHARACTERS): string {
  const cut = text.length <= most ? text : `${text.slice(0, most - 1)}…`;
  return cut.replace(CONTROLS, '?');
}

/**
 * Texts of less trusted origin (agents, what nodes' programs write, images) as logs, events and terminals may show them:
 * no control characters, which would move a cursor or forge a line, and no more than a line or two.
 */
const MOST_CHARACTERS = 500;

export function plainText(text: string, most = MOST_CHARACTERS): string {
  const cut = text.length <= most ? text : `${text.slice(0, most - 1)}…`;
  // Control characters, those that turn the direction of text, and separators of lines.
  // eslint-disable-next-line no-control-regex
  return cut.replace(/[\u0000-\u001f\u007f-\u009f\u200e\u200f\u2028-\u202e\u2066-\u2069]/g, '?');
}

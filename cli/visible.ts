/** Names as a terminal may show them. Apart from the tables, which the runner does not load. */

/** Control characters in a name would move the cursor or change colours of the terminal that shows it. */
// eslint-disable-next-line no-control-regex
export const visible = (text: string): string => text.replace(/[\u0000-\u001f\u007f-\u009f]/g, '?');

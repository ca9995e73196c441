/** What the guest says of one check, as a line on the report port. */
import { z } from 'zod';

const schema = z.strictObject({
  check: z.string(),
  /** Why it failed; absent: it passed. */
  failure: z.string().optional(),
  durationMs: z.number(),
});

export type CheckReport = z.infer<typeof schema>;

export const encodeReport = (report: CheckReport): string => `${JSON.stringify(report)}\n`;

/** A serial port ends its lines as a terminal does. */
export const decodeReport = (line: string): CheckReport => schema.parse(JSON.parse(line.trim()));

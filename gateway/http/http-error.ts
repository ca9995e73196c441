/** An error with an HTTP status that no code of the table has, or with headers of its own. */
import { NexusError, type ErrorCode, type ErrorDetails } from '../../shared/errors.js';

export class HttpError extends NexusError {
  constructor(
    readonly status: number,
    code: ErrorCode,
    message: string,
    details: ErrorDetails = {},
    readonly headers: Readonly<Record<string, string>> = {},
  ) {
    super(code, message, details);
  }
}

/** `field` is what is too large: `body`, or a part of it. */
export const tooLarge = (field: string, limitBytes: number): HttpError =>
  new HttpError(413, 'invalid_argument', `${field}: must be at most ${limitBytes} bytes`, {
    field,
    problem: `must be at most ${limitBytes} bytes`,
  });

export const tooSlow = (what: string): HttpError =>
  new HttpError(408, 'deadline_exceeded', `${what} arrived too slowly; send it again`);

export const wrongMediaType = (wanted: string): HttpError =>
  new HttpError(415, 'invalid_argument', `content-type: must be ${wanted}`, {
    field: 'content-type',
    problem: `must be ${wanted}`,
  });

export const invalid = (field: string, problem: string): NexusError =>
  new NexusError('invalid_argument', field === '' ? problem : `${field}: ${problem}`, { field, problem });

/**
 * A multipart body with one file, as a stream: the fields before the file are there when it begins, those after it when
 * the body has ended. Nothing is kept but a few short fields; while nobody reads the file nothing is read from the client.
 */
import type { IncomingHttpHeaders } from 'node:http';
import type { Readable } from 'node:stream';
import busboy from 'busboy';
import { toNexusError, type NexusError } from '../shared/errors.js';
import { KIB } from '../shared/limits.js';
import { invalid, tooLarge } from './http-error.js';

export interface FilePart {
  /** As the client called it; folders before it are cut off. */
  readonly name: string;
  readonly stream: Readable;
  /** Those after it may have come, too, some of them, by the time that anybody looks. */
  readonly fieldsBefore: Readonly<Record<string, string>>;
}

/** A path is the longest of them. */
const MAX_FIELD_BYTES = 8 * KIB;
const LIMITS = { fieldNameSize: 100, fieldSize: MAX_FIELD_BYTES, fields: 8, files: 1, parts: 9, headerPairs: 32 };

const PLAIN: readonly string[] = ['7bit', '8bit', 'binary'];

export class Multipart {
  /** Those that have come so far. */
  readonly fields: Record<string, string> = {};
  /** Codes: invalid_argument (there is none), those of the body. */
  readonly file: Promise<FilePart>;
  /** All has come. Codes: invalid_argument, those of the body. */
  readonly end: Promise<void>;
  #failure: NexusError | undefined;
  #stream: Readable | undefined;

  constructor(headers: IncomingHttpHeaders, body: AsyncIterable<Buffer>) {
    const parser = parserFor(headers);
    this.file = new Promise((resolve, reject) => {
      parser.on('file', (field, stream, { filename, encoding }) => {
        this.#stream = stream;
        // Whoever reads it learns of its failure by reading; where nobody does, it must not end the process.
        stream.on('error', () => undefined);
        this.#assertPlain(field, encoding);
        if (field !== 'file') this.#fail(invalid(field, 'is not a known field'));
        // Of a name of folders alone nothing is left.
        resolve({ name: filename ?? '', stream, fieldsBefore: { ...this.fields } });
      });
      parser.once('close', () => {
        reject(this.#failure ?? invalid('file', 'is missing: the body needs a part of that name with a file name'));
      });
    });
    parser.on('field', (name, value, { valueTruncated, nameTruncated, encoding }) => {
      this.#assertPlain(name, encoding);
      if (valueTruncated || nameTruncated) this.#fail(tooLarge(name, MAX_FIELD_BYTES));
      else if (Object.hasOwn(this.fields, name)) this.#fail(invalid(name, 'must be given once'));
      else this.fields[name] = value;
    });
    for (const limit of ['partsLimit', 'filesLimit', 'fieldsLimit'] as const)
      parser.on(limit, () => {
        this.#fail(invalid('body', 'has too many parts: one file and a few fields are all that it may have'));
      });
    this.end = this.#pump(parser, body);
    // Each is looked at when its turn comes; until then their failure must not count as unhandled.
    this.file.catch(() => undefined);
    this.end.catch(() => undefined);
  }

  /** What is wrong with the body, as far as it has come. */
  get failure(): NexusError | undefined {
    return this.#failure;
  }

  /** A coding of a part is long out of use (RFC 7578, 4.7), and nothing here undoes it. */
  #assertPlain(name: string, encoding: string): void {
    if (PLAIN.includes(encoding.toLowerCase())) return;
    this.#fail(invalid(name, `must come without content-transfer-encoding ${encoding}`));
  }

  #fail(error: NexusError): void {
    this.#failure ??= error;
  }

  async #pump(parser: busboy.Busboy, body: AsyncIterable<Buffer>): Promise<void> {
    const closed = new Promise<void>((resolve) => parser.once('close', resolve));
    parser.on('error', (error: Error) => {
      this.#fail(invalid('body', `is not well-formed multipart: ${error.message}`));
    });
    try {
      for await (const piece of body) {
        if (!parser.write(piece)) await Promise.race([drained(parser), closed]);
        if (this.#failure !== undefined) throw this.#failure;
      }
      parser.end();
      await closed;
      if (this.#failure !== undefined) throw this.#failure;
    } catch (thrown) {
      const error = toNexusError(thrown);
      this.#fail(error);
      this.#stream?.destroy(error);
      parser.destroy();
      throw error;
    }
  }
}

const drained = (parser: busboy.Busboy): Promise<void> => new Promise((resolve) => parser.once('drain', resolve));

function parserFor(headers: IncomingHttpHeaders): busboy.Busboy {
  try {
    // Names come as browsers and curl send them: as they are, in UTF-8.
    return busboy({ headers, limits: LIMITS, defParamCharset: 'utf8' });
  } catch (error) {
    throw invalid('content-type', error instanceof Error ? error.message : 'is malformed');
  }
}

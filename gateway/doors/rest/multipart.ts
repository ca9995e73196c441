/**
 * Parses a multipart body with one file as a stream: the fields before the file are known when it begins, those after
 * it when the body has ended. Only a few short fields are kept; nothing is read from the client while nobody reads the
 * file.
 */
import type { IncomingHttpHeaders } from 'node:http';
import type { Readable } from 'node:stream';
import busboy from 'busboy';
import { deferred, outcome } from '../../../shared/async/wait.js';
import { toNexusError, type NexusError } from '../../../shared/errors.js';
import { KIB } from '../../../shared/limits.js';
import { invalid, tooLarge } from '../../http/http-error.js';

export interface FilePart {
  /** The client's name for the file, without folders. */
  readonly name: string;
  readonly stream: Readable;
  /** A snapshot: `fields` may already hold some of those after the file. */
  readonly fieldsBefore: Readonly<Record<string, string>>;
}

/** The longest field is a path. */
const MAX_FIELD_BYTES = 8 * KIB;
const LIMITS = { fieldNameSize: 100, fieldSize: MAX_FIELD_BYTES, fields: 8, files: 1, parts: 9, headerPairs: 32 };

const PLAIN: readonly string[] = ['7bit', '8bit', 'binary'];

export class Multipart {
  /** Fields received so far. */
  readonly fields: Record<string, string> = {};
  /** Codes: invalid_argument (there is no file), those of the body. */
  readonly file: Promise<FilePart>;
  /** Resolves when the whole body has come. Codes: invalid_argument, those of the body. */
  readonly end: Promise<void>;
  #failure: NexusError | undefined;
  #stream: Readable | undefined;

  constructor(headers: IncomingHttpHeaders, body: AsyncIterable<Buffer>) {
    const parser = parserFor(headers);
    this.file = outcome((resolve, reject) => {
      parser.on('file', (field, stream, { filename, encoding }) => {
        this.#stream = stream;
        // A reader receives the error by reading; without one it must not end the process.
        stream.on('error', () => undefined);
        this.#assertPlain(field, encoding);
        if (field !== 'file') this.#fail(invalid(field, 'is not a known field'));
        // A name that consists of folders only is reduced to nothing.
        resolve({ name: filename ?? '', stream, fieldsBefore: { ...this.fields } });
      });
      parser.once('close', () => {
        reject(this.#failure ?? invalid('file', 'is missing: the body needs a part of that name with a file name'));
      });
      return undefined;
    });
    parser.on('field', (name, value, { valueTruncated, nameTruncated, encoding }) => {
      this.#assertPlain(name, encoding);
      if (valueTruncated || nameTruncated) this.#fail(tooLarge(name, MAX_FIELD_BYTES));
      else if (Object.hasOwn(this.fields, name)) this.#fail(invalid(name, 'must be given once'));
      else this.fields[name] = value;
    });
    for (const limit of ['partsLimit', 'filesLimit', 'fieldsLimit'] as const)
      parser.on(limit, () => {
        this.#fail(invalid('body', 'has too many parts: one file and a few fields are allowed'));
      });
    this.end = this.#pump(parser, body);
    // Awaited later. The no-op catches stop Node reporting unhandled rejections meanwhile.
    this.file.catch(() => undefined);
    this.end.catch(() => undefined);
  }

  /** The first problem found in the body so far. */
  get failure(): NexusError | undefined {
    return this.#failure;
  }

  /** Encodings of parts are long obsolete (RFC 7578, 4.7), and nothing here decodes them. */
  #assertPlain(name: string, encoding: string): void {
    if (PLAIN.includes(encoding.toLowerCase())) return;
    this.#fail(invalid(name, `must come without content-transfer-encoding ${encoding}`));
  }

  #fail(error: NexusError): void {
    this.#failure ??= error;
  }

  async #pump(parser: busboy.Busboy, body: AsyncIterable<Buffer>): Promise<void> {
    const closed = deferred();
    parser.once('close', () => closed.resolve());
    parser.on('error', (error: Error) => {
      this.#fail(invalid('body', `is not well-formed multipart: ${error.message}`));
    });
    try {
      for await (const piece of body) {
        if (!parser.write(piece)) await Promise.race([drained(parser), closed.promise]);
        if (this.#failure !== undefined) throw this.#failure;
      }
      parser.end();
      await closed.promise;
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

function drained(parser: busboy.Busboy): Promise<void> {
  const { promise, resolve } = deferred();
  parser.once('drain', () => resolve());
  return promise;
}

function parserFor(headers: IncomingHttpHeaders): busboy.Busboy {
  try {
    // Browsers and curl send names unencoded, in UTF-8.
    return busboy({ headers, limits: LIMITS, defParamCharset: 'utf8' });
  } catch (error) {
    throw invalid('content-type', error instanceof Error ? error.message : 'is malformed');
  }
}

/**
 * Defines a route: its address, its input and answers as zod schemas, and its handler. The router, the input checks and
 * the OpenAPI document are all made from this one definition, so that they can't differ.
 */
import type { Context } from 'koa';
import type { z } from 'zod';
import type { Logger } from '../../shared/log.js';
import type { Shares } from '../../shared/shares.js';
import type { Session } from '../controller/controller.js';
import type { EventFeeds } from '../controller/event-feeds.js';
import type { GatewayLimits } from './limits.js';
import type { Transfers } from '../transfer/transfers.js';

export interface Reply {
  /** Default: the first status among the route's answers. */
  readonly status?: number;
  /** JSON, unless `type` says otherwise; undefined: no body. */
  readonly body?: unknown;
  readonly type?: string;
  readonly headers?: Readonly<Record<string, string>>;
}

/** Shared by all routes. */
export interface Services {
  readonly limits: GatewayLimits;
  /** Receives and sends bytes; bounds how many transfers run. */
  readonly transfers: Transfers;
  /** Open event streams. */
  readonly streams: Shares;
  readonly feeds: EventFeeds;
  readonly log: Logger;
  /** Aborted when the gateway stops; ends requests that would otherwise go on for ever. */
  readonly draining: AbortSignal;
}

export interface Input<Params, Query, Body> extends Services {
  readonly params: Params;
  readonly query: Query;
  readonly body: Body;
  /** The body as it came; empty where the route takes none. */
  readonly bodyText: string;
  readonly session: Session;
  readonly koa: Context;
}

export interface Answer {
  readonly description: string;
  readonly schema?: z.ZodType;
  /** Media type, if it is not JSON. */
  readonly type?: string;
}

export interface Route {
  readonly method: 'get' | 'post' | 'delete';
  /** With parameters as `:name`. */
  readonly path: string;
  readonly tag: string;
  readonly summary: string;
  /** Whether it can be called without a token. */
  readonly isPublic: boolean;
  readonly params: z.ZodObject | undefined;
  readonly query: z.ZodObject | undefined;
  readonly body: z.ZodObject | undefined;
  /** The fields of a multipart body, or the body itself, of a route that takes bytes. */
  readonly upload: z.ZodObject | undefined;
  readonly maxBodyBytes: number;
  /**
   * How If-Match and the like are treated: none: refused where they matter; evaluated: by the route itself; if new:
   * refused, except If-None-Match: *.
   */
  readonly conditions?: 'none' | 'evaluated' | 'if new';
  readonly answers: Readonly<Record<number, Answer>>;
  /** Undefined: the handler has answered by itself. */
  readonly handle: (input: Input<never, never, never>) => Promise<Reply | undefined>;
}

type Empty = Record<string, never>;
type Parsed<Schema> = Schema extends z.ZodObject ? z.infer<Schema> : Empty;

/** Default limit of a body. */
export const SMALL_BODY_BYTES = 64 * 1024;

/** Infers the types of the input from the schemas. */
export function route<
  Params extends z.ZodObject | undefined = undefined,
  Query extends z.ZodObject | undefined = undefined,
  Body extends z.ZodObject | undefined = undefined,
>(definition: {
  readonly method: Route['method'];
  readonly path: string;
  readonly tag: string;
  readonly summary: string;
  readonly isPublic?: boolean;
  readonly params?: Params;
  readonly query?: Query;
  readonly body?: Body;
  readonly upload?: z.ZodObject;
  /** Limit of a JSON body; default 64 KiB. */
  readonly maxBodyBytes?: number;
  /** Default: none. */
  readonly conditions?: NonNullable<Route['conditions']>;
  readonly answers: Readonly<Record<number, Answer>>;
  readonly handle: (input: Input<Parsed<Params>, Parsed<Query>, Parsed<Body>>) => Promise<Reply | undefined>;
}): Route {
  return {
    isPublic: false,
    params: undefined,
    query: undefined,
    body: undefined,
    upload: undefined,
    maxBodyBytes: SMALL_BODY_BYTES,
    ...definition,
  };
}

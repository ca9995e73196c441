/**
 * Named functions: code in its owner's virtual file system, under /.functions/NAME. Each version is a file named by the
 * hash of its content; manifest.json names the newest one and its limits, and is replaced last, so that a function is
 * either deployed whole or unchanged. The content of a file id never changes, so reads are cached by id. The files are
 * their owner's like any other: whatever is read from them is checked like outside input.
 */
import { createHash } from 'node:crypto';
import { z } from 'zod';
import type { Clock } from '../../shared/async/clock.js';
import { NexusError, toNexusError } from '../../shared/errors.js';
import type { Names } from '../store/port/fs.js';
import type { FsUseCases } from '../vfs/use-cases.js';
import type { CallerFiles } from './caller-files.js';
import { FUNCTION_CACHE_BYTES, MAX_CODE_BYTES } from './limits.js';

const FOLDER = '.functions';
const MANIFEST = 'manifest.json';
const MAX_MANIFEST_BYTES = 4096;
const VERSION_LENGTH = 12;
/** Most functions that `list` reads, and versions that it counts. */
const MAX_FUNCTIONS = 1000;

export const FUNCTION_NAME = /^[a-z][a-z0-9-]{0,62}$/;

/** The last moment that a Date can hold. */
const LAST_MS = 8.64e15;

const manifestSchema = z.object({
  version: z.string().regex(/^[0-9a-f]{12}$/),
  timeout_ms: z.int().min(1),
  memory_mb: z.int().min(1),
  size: z.int().min(0),
  deployed_at: z.int().min(0).max(LAST_MS),
});

export interface FunctionRecord {
  readonly name: string;
  readonly version: string;
  readonly timeoutMs: number;
  readonly memoryMb: number;
  readonly size: number;
  readonly deployedAt: number;
  /** Number of kept versions, the newest included. */
  readonly versions: number;
}

/** A function whose files differ from what a deployment writes. */
export interface BrokenFunction {
  readonly name: string;
  readonly problem: string;
}

export interface FunctionLimits {
  readonly timeoutMs: number;
  readonly memoryMb: number;
}

/** Describes what is wrong; undefined: nothing. Run again for deployed functions, as settings may have changed. */
export type CheckLimits = (limits: FunctionLimits) => string | undefined;

export class Functions {
  readonly #cache = new Map<string, Buffer>();
  #cachedBytes = 0;

  constructor(
    private readonly fs: FsUseCases,
    private readonly files: CallerFiles,
    private readonly clock: Clock,
    private readonly checkLimits: CheckLimits,
  ) {}

  /** Codes: those of CallerFiles.write (quota, no nodes). */
  async deploy(
    user: string,
    name: string,
    code: string,
    limits: FunctionLimits,
    signal: AbortSignal,
  ): Promise<FunctionRecord> {
    const content = Buffer.from(code);
    const version = versionOf(content);
    const place = codePath(name, version);
    if (!(await this.#holds(user, place, content, signal))) await this.files.write(user, place, content, signal);
    const manifest: z.infer<typeof manifestSchema> = {
      version,
      timeout_ms: limits.timeoutMs,
      memory_mb: limits.memoryMb,
      size: content.length,
      deployed_at: this.clock.now(),
    };
    await this.files.write(user, [FOLDER, name, MANIFEST], Buffer.from(JSON.stringify(manifest)), signal);
    // It is deployed: a failure to read it back must not fail the call.
    const versions = await this.#versions(user, name).catch(() => 1);
    const { deployed_at: deployedAt, size } = manifest;
    return { name, version, ...limits, size, deployedAt, versions };
  }

  /** Codes: not_found; failed_precondition if its files are not as deployed, or its limits no longer allowed. */
  async find(user: string, name: string, signal: AbortSignal): Promise<FunctionRecord> {
    const text = await this.#read(user, [FOLDER, name, MANIFEST], name, signal, MAX_MANIFEST_BYTES);
    const manifest = manifestSchema.safeParse(parseJson(text.toString('utf8')));
    if (!manifest.success) throw unfit(name, `its ${MANIFEST} was not written by a deployment`);
    const { version, size, timeout_ms: timeoutMs, memory_mb: memoryMb, deployed_at: deployedAt } = manifest.data;
    const problem = this.checkLimits({ timeoutMs, memoryMb });
    if (problem !== undefined) throw unfit(name, `its limits are not allowed: ${problem}`);
    const versions = await this.#versions(user, name);
    return { name, version, timeoutMs, memoryMb, size, deployedAt, versions };
  }

  async #versions(user: string, name: string): Promise<number> {
    const kept = await this.fs.list(user, [FOLDER, name], { after: '', limit: MAX_FUNCTIONS });
    return kept.filter(({ entry }) => entry.name.endsWith('.py')).length;
  }

  /** Codes: not_found; failed_precondition if it is not the code that was deployed. */
  async codeOf(user: string, { name, version }: FunctionRecord, signal: AbortSignal): Promise<string> {
    const content = await this.#read(user, codePath(name, version), name, signal, MAX_CODE_BYTES);
    const isDeployed = content.length <= MAX_CODE_BYTES && versionOf(content) === version;
    if (!isDeployed) throw unfit(name, `its ${version}.py was changed`);
    return content.toString('utf8');
  }

  /** Lists unreadable functions as broken, so that they do not hide the others. */
  async list(user: string, signal: AbortSignal): Promise<(FunctionRecord | BrokenFunction)[]> {
    const found = await this.fs.list(user, [FOLDER], { after: '', limit: MAX_FUNCTIONS }).catch(nothingIfAbsent);
    const records: (FunctionRecord | BrokenFunction)[] = [];
    for (const { entry } of found.filter((one) => FUNCTION_NAME.test(one.entry.name))) {
      // A function that is being removed, or deployed for the first time, counts as absent.
      const record = await this.find(user, entry.name, signal).catch(brokenOrAbsent(entry.name));
      if (record !== undefined) records.push(record);
    }
    return records;
  }

  /** Code: not_found. */
  async remove(user: string, name: string): Promise<void> {
    try {
      await this.fs.remove(user, [FOLDER, name], true);
    } catch (error) {
      throw toNexusError(error).code === 'not_found' ? noSuchFunction(name) : error;
    }
  }

  async #holds(user: string, path: Names, content: Buffer, signal: AbortSignal): Promise<boolean> {
    const there = await this.#read(user, path, '', signal, MAX_CODE_BYTES).catch(nothingIfUnfit);
    return Buffer.isBuffer(there) && there.equals(content);
  }

  async #entry(user: string, path: Names): Promise<{ readonly fileId: string; readonly size: number } | undefined> {
    const placed = await this.fs.stat(user, path).catch((error: unknown) => {
      if (toNexusError(error).code !== 'not_found') throw error;
      return undefined;
    });
    const { fileId, size } = placed?.entry ?? {};
    return fileId === undefined || fileId === null ? undefined : { fileId, size: size ?? 0 };
  }

  /** Rejects files larger than `most` bytes: owners could put anything there. Codes: not_found, failed_precondition. */
  async #read(user: string, path: Names, name: string, signal: AbortSignal, most: number): Promise<Buffer> {
    const entry = await this.#entry(user, path);
    if (entry === undefined) throw noSuchFunction(name);
    if (entry.size > most) throw unfit(name, `its ${path.at(-1) ?? ''} is larger than any deployment writes`);
    const { fileId: id } = entry;
    const known = this.#cache.get(id);
    if (known !== undefined) return known;
    const content = await this.files.read(user, path, signal);
    this.#keep(id, content);
    return content;
  }

  /** Caches content by file id; the entries added first are dropped first. */
  #keep(id: string, content: Buffer): void {
    if (this.#cache.has(id)) return;
    this.#cache.set(id, content);
    this.#cachedBytes += content.length;
    for (const [oldest, { length }] of this.#cache) {
      if (this.#cachedBytes <= FUNCTION_CACHE_BYTES) break;
      this.#cache.delete(oldest);
      this.#cachedBytes -= length;
    }
  }
}

const versionOf = (content: Buffer): string =>
  createHash('sha256').update(content).digest('hex').slice(0, VERSION_LENGTH);

const codePath = (name: string, version: string): Names => [FOLDER, name, `${version}.py`];

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}

/** Treats a damaged or missing file as absent, so that a deployment writes it anew. */
function nothingIfUnfit(error: unknown): [] {
  return toNexusError(error).code === 'failed_precondition' ? [] : nothingIfAbsent(error);
}

function nothingIfAbsent(error: unknown): [] {
  if (toNexusError(error).code === 'not_found') return [];
  throw error;
}

const brokenOrAbsent =
  (name: string) =>
  (error: unknown): BrokenFunction | undefined => {
    const { code, message } = toNexusError(error);
    if (code === 'cancelled') throw error;
    return code === 'not_found' ? undefined : { name, problem: message };
  };

const noSuchFunction = (name: string): NexusError =>
  new NexusError(
    'not_found',
    `there is no function "${name}"`,
    { field: 'name' },
    { advice: { key: 'list-functions' } },
  );

const unfit = (name: string, why: string): NexusError =>
  new NexusError('failed_precondition', `function "${name}" can't be invoked: ${why}; deploy it again`, {
    field: 'name',
  });

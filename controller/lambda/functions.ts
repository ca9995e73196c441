/**
 * Named functions: code in its owner's virtual file system, under /.functions/NAME. Each version is a file named by the
 * hash of its content; manifest.json says which one is the newest and how it is run, and is replaced last, so that a
 * function is whole or as it was. Files never change under their id, so what was read once is kept by it.
 */
import { createHash } from 'node:crypto';
import { z } from 'zod';
import type { Clock } from '../../shared/clock.js';
import { NexusError, toNexusError } from '../../shared/errors.js';
import type { Names } from '../store/fs-port.js';
import type { FsUseCases } from '../vfs/use-cases.js';
import type { CallerFiles } from './caller-files.js';
import { FUNCTION_CACHE_BYTES } from './limits.js';

const FOLDER = '.functions';
const MANIFEST = 'manifest.json';
const VERSION_LENGTH = 12;
/** What ListFunctions shows at most. */
const MAX_FUNCTIONS = 1000;

export const FUNCTION_NAME = /^[a-z][a-z0-9-]{0,62}$/;

const manifestSchema = z.object({
  version: z.string().regex(/^[0-9a-f]{12}$/),
  timeout_ms: z.number().int(),
  memory_mb: z.number().int(),
  size: z.number().int(),
  deployed_at: z.number(),
});

export interface FunctionRecord {
  readonly name: string;
  readonly version: string;
  readonly timeoutMs: number;
  readonly memoryMb: number;
  readonly size: number;
  readonly deployedAt: number;
  /** That are kept, the newest included. */
  readonly versions: number;
}

export interface FunctionLimits {
  readonly timeoutMs: number;
  readonly memoryMb: number;
}

export class Functions {
  readonly #cache = new Map<string, Buffer>();
  #cachedBytes = 0;

  constructor(
    private readonly fs: FsUseCases,
    private readonly files: CallerFiles,
    private readonly clock: Clock,
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
    const version = createHash('sha256').update(content).digest('hex').slice(0, VERSION_LENGTH);
    const place = codePath(name, version);
    if ((await this.#fileId(user, place)) === undefined) await this.files.write(user, place, content, signal);
    const manifest: z.infer<typeof manifestSchema> = {
      version,
      timeout_ms: limits.timeoutMs,
      memory_mb: limits.memoryMb,
      size: content.length,
      deployed_at: this.clock.now(),
    };
    await this.files.write(user, [FOLDER, name, MANIFEST], Buffer.from(JSON.stringify(manifest)), signal);
    return await this.find(user, name, signal);
  }

  /** Code: not_found. */
  async find(user: string, name: string, signal: AbortSignal): Promise<FunctionRecord> {
    const text = await this.#read(user, [FOLDER, name, MANIFEST], name, signal);
    const manifest = manifestSchema.safeParse(parseJson(text.toString('utf8')));
    if (!manifest.success) throw damaged(name);
    const { version, size, timeout_ms: timeoutMs, memory_mb: memoryMb, deployed_at: deployedAt } = manifest.data;
    const kept = await this.fs.list(user, [FOLDER, name], { after: '', limit: MAX_FUNCTIONS });
    const versions = kept.filter(({ entry }) => entry.name.endsWith('.py')).length;
    return { name, version, timeoutMs, memoryMb, size, deployedAt, versions };
  }

  /** Code: not_found. */
  async codeOf(user: string, { name, version }: FunctionRecord, signal: AbortSignal): Promise<string> {
    return (await this.#read(user, codePath(name, version), name, signal)).toString('utf8');
  }

  async list(user: string, signal: AbortSignal): Promise<FunctionRecord[]> {
    const found = await this.fs.list(user, [FOLDER], { after: '', limit: MAX_FUNCTIONS }).catch(nothingIfAbsent);
    const records: FunctionRecord[] = [];
    for (const { entry } of found) {
      // One that is being deployed for the first time, or removed, is not there.
      const record = await this.find(user, entry.name, signal).catch(nothingIfAbsent);
      if (!Array.isArray(record)) records.push(record);
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

  async #fileId(user: string, path: Names): Promise<string | undefined> {
    const placed = await this.fs.stat(user, path).catch((error: unknown) => {
      if (toNexusError(error).code !== 'not_found') throw error;
      return undefined;
    });
    return placed?.entry.fileId ?? undefined;
  }

  async #read(user: string, path: Names, name: string, signal: AbortSignal): Promise<Buffer> {
    const id = await this.#fileId(user, path);
    if (id === undefined) throw noSuchFunction(name);
    const known = this.#cache.get(id);
    if (known !== undefined) return known;
    const content = await this.files.read(user, path, signal);
    this.#keep(id, content);
    return content;
  }

  /** What was kept first goes first. */
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

const codePath = (name: string, version: string): Names => [FOLDER, name, `${version}.py`];

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}

function nothingIfAbsent(error: unknown): [] {
  if (toNexusError(error).code === 'not_found') return [];
  throw error;
}

const noSuchFunction = (name: string): NexusError =>
  new NexusError('not_found', `there is no function "${name}"; nexus lambda ls lists yours`, { field: 'name' });

const damaged = (name: string): NexusError =>
  new NexusError(
    'data_loss',
    `/${FOLDER}/${name}/${MANIFEST} is not what a deployment writes; deploy the function again`,
  );

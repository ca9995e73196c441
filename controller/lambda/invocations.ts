/** Runs code for a caller, either sent with the call or one of the caller's functions, with files of the caller. */
import type { Clock } from '../../shared/async/clock.js';
import type { NodeId } from '../../shared/ids.js';
import { MIB } from '../../shared/limits.js';
import type { Names } from '../store/port/fs.js';
import type { CallerFiles } from './caller-files.js';
import { FunctionLogs, Tail, type LoggedInvocation } from './function-logs.js';
import type { Functions } from './functions.js';
import type { Invoker, LambdaResult } from './invoke.js';
import type { OnOutput } from './watchdog.js';

export interface Given {
  readonly user: string;
  readonly stdin: Uint8Array;
  /** JSON text. */
  readonly event?: string | undefined;
  readonly files: readonly Names[];
  readonly node: NodeId | undefined;
}

interface Bounds {
  readonly memoryBytes: number;
  readonly timeoutMs: number;
}

export class Invocations {
  readonly #logs = new FunctionLogs();

  constructor(
    private readonly invoker: Invoker,
    readonly functions: Functions,
    private readonly files: CallerFiles,
    private readonly clock: Clock,
  ) {}

  /** Codes: those of Invoker.run and CallerFiles.forInvocation. */
  async run(
    code: string,
    bounds: Bounds,
    given: Given,
    onOutput: OnOutput,
    signal: AbortSignal,
  ): Promise<LambdaResult> {
    const files = await this.files.forInvocation(given.user, given.files, signal);
    return await this.invoker.run({ ...given, ...bounds, code, event: given.event, files }, onOutput, signal);
  }

  /** Invokes a function; its event is null if none is given. Codes: those of `run`, not_found, failed_precondition. */
  async invoke(name: string, given: Given, onOutput: OnOutput, signal: AbortSignal): Promise<LambdaResult> {
    const { user } = given;
    const found = await this.functions.find(user, name, signal);
    const code = await this.functions.codeOf(user, found, signal);
    const bounds = { memoryBytes: found.memoryMb * MIB, timeoutMs: found.timeoutMs };
    const tail = new Tail();
    const atMs = this.clock.now();
    const pass: OnOutput = (stream, data) => {
      tail.add(data);
      onOutput(stream, data);
    };
    const result = await this.run(code, bounds, { ...given, event: given.event ?? 'null' }, pass, signal);
    if (result.result !== undefined) tail.addLine(result.result);
    // A result may be a hundred times the output that is kept.
    const logged = { ...result, result: undefined };
    this.#logs.add(user, name, { atMs, version: found.version, result: logged, output: tail.take() });
    return result;
  }

  async remove(user: string, name: string): Promise<void> {
    await this.functions.remove(user, name);
    this.#logs.forget(user, name);
  }

  /** Returns the latest `limit` invocations, oldest first. Code: not_found. */
  async logsOf(user: string, name: string, limit: number, signal: AbortSignal): Promise<readonly LoggedInvocation[]> {
    await this.functions.find(user, name, signal);
    return this.#logs.last(user, name, limit);
  }
}

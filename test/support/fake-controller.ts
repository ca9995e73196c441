/** A controller on a private socket whose answers a test gives, and the CLI run against it within this process. */
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { PassThrough } from 'node:stream';
import {
  Server,
  ServerCredentials,
  type sendUnaryData,
  type ServerUnaryCall,
  type UntypedHandleCall,
} from '@grpc/grpc-js';
import { exchangeOver } from '../../controller/edge/exchange.js';
import type { NexusError } from '../../shared/errors.js';
import { ClusterServiceService } from '../../shared/gen/nexus/v1/cluster.js';
import { FileServiceService } from '../../shared/gen/nexus/v1/file.js';
import { FsServiceService } from '../../shared/gen/nexus/v1/fs.js';
import { IdentityServiceService } from '../../shared/gen/nexus/v1/identity.js';
import { ImageServiceService } from '../../shared/gen/nexus/v1/image.js';
import { LambdaServiceService } from '../../shared/gen/nexus/v1/lambda.js';
import { MetricsServiceService } from '../../shared/gen/nexus/v1/metrics.js';
import { NodeServiceService } from '../../shared/gen/nexus/v1/node.js';
import { StateServiceService } from '../../shared/gen/nexus/v1/state.js';
import { statusOf } from '../../shared/rpc/status.js';

const SERVICES = [
  ClusterServiceService,
  FileServiceService,
  FsServiceService,
  IdentityServiceService,
  ImageServiceService,
  LambdaServiceService,
  MetricsServiceService,
  NodeServiceService,
  StateServiceService,
];

/** A handler for one answer; what it throws becomes the status. */
export const answer =
  (make: (request: never) => unknown): UntypedHandleCall =>
  (call: ServerUnaryCall<unknown, unknown>, done: sendUnaryData<unknown>) => {
    try {
      done(null, make(call.request as never));
    } catch (error) {
      done(statusOf(error as NexusError));
    }
  };

export interface CommandOutcome {
  readonly exitCode: number;
  readonly stdout: string;
  readonly stderr: string;
}

export class FakeController implements AsyncDisposable {
  #server = new Server();

  private constructor(
    readonly folder: string,
    private readonly answers: Readonly<Record<string, UntypedHandleCall>>,
  ) {}

  /** `answers` are handlers by the generated method name; whatever else is called is answered `unimplemented`. */
  static async start(answers: Readonly<Record<string, UntypedHandleCall>>): Promise<FakeController> {
    const controller = new FakeController(await mkdtemp(join(tmpdir(), 'nexus-cli-')), answers);
    await controller.listen();
    return controller;
  }

  /** Also again, after `stop`. */
  async listen(): Promise<void> {
    this.#server = new Server();
    const services = SERVICES.map((definition) => ({
      proto: '',
      definition,
      handlers: Object.fromEntries(Object.entries(this.answers).filter(([name]) => Object.hasOwn(definition, name))),
    }));
    for (const { definition, handlers } of [...services, exchangeOver(services)]) {
      this.#server.addService(definition, handlers);
    }
    await new Promise<void>((resolve, reject) => {
      this.#server.bindAsync(`unix:${this.socket}`, ServerCredentials.createInsecure(), (error) => {
        if (error === null) resolve();
        else reject(error);
      });
    });
  }

  /** Ends what runs, and takes nothing more. */
  async stop(): Promise<void> {
    this.#server.forceShutdown();
    await rm(this.socket, { force: true });
  }

  get socket(): string {
    return join(this.folder, 'admin.sock');
  }

  /** What makes the CLI find it. */
  get env(): Readonly<Record<string, string>> {
    return { NEXUS_SOCKET: this.socket, NEXUS_RUNTIME: 'process' };
  }

  run(argv: readonly string[], input = ''): Promise<CommandOutcome> {
    return runNexus(argv, this.env, input);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#server.forceShutdown();
    await rm(this.folder, { recursive: true, force: true });
  }
}

/** One command line as it would be typed where standard output and error are not terminals. */
export async function runNexus(
  argv: readonly string[],
  env: NodeJS.ProcessEnv = {},
  input: Buffer | string = '',
): Promise<CommandOutcome> {
  const stdin = new PassThrough();
  stdin.end(input);
  const [stdout, stderr] = [new PassThrough(), new PassThrough()];
  const texts = [stdout, stderr].map((stream) => {
    const parts: Buffer[] = [];
    stream.on('data', (part: Buffer) => parts.push(part));
    return () => Buffer.concat(parts).toString('utf8');
  });
  // Loaded the way the CLI loads its own parts: mocha requires this file, and a second copy of the CLI's modules would
  // have an error class of its own.
  const { run } = await import('../../cli/runner/command-runner.js');
  // Whoever runs the tests may be logged in somewhere.
  const exitCode = await run(argv, { stdin, stdout, stderr, env: { HOME: '/nonexistent', ...env } });
  return { exitCode, stdout: texts[0]?.() ?? '', stderr: texts[1]?.() ?? '' };
}

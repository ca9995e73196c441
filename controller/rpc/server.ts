/**
 * gRPC over a Unix socket that only its owner, or a group besides, may open. A socket file that nobody listens on is
 * replaced; one that answers never is.
 */
import { existsSync, readFileSync } from 'node:fs';
import { chmod, chown, mkdir, rm } from 'node:fs/promises';
import { connect } from 'node:net';
import { dirname, join } from 'node:path';
import { fromBinary, toBinary } from '@bufbuild/protobuf';
import { FileDescriptorProtoSchema, FileDescriptorSetSchema } from '@bufbuild/protobuf/wkt';
import { Server, ServerCredentials, type ServiceDefinition, type UntypedServiceImplementation } from '@grpc/grpc-js';
import { HealthImplementation } from 'grpc-health-check';
import { ReflectionService } from '@grpc/reflection';
import { NexusError } from '../../shared/errors.js';
import { MIB } from '../../shared/limits.js';

export interface RegisteredService {
  /** The file that defines it, below the folder of the protos. */
  readonly proto: string;
  readonly definition: ServiceDefinition;
  readonly handlers: UntypedServiceImplementation;
  /** Called when the server stops: for calls that would not end by themselves. */
  readonly stop?: () => void;
}

/** Running calls may finish for so long when the server stops. */
const DRAIN_TIMEOUT_MS = 5000;
const MAX_MESSAGE_BYTES = 4 * MIB;
/** HTTP/2's own 64 KiB would make a stream that many calls share wait for its reader. */
const FLOW_CONTROL_BYTES = MIB;

export interface SocketPlace {
  readonly path: string;
  /** Who besides the owner may open it: a group id. */
  readonly group?: number;
}

export class SocketServer {
  readonly #server: Server;
  readonly #health: HealthImplementation;
  readonly #names: readonly string[];
  #stopping: Promise<void> | undefined;

  constructor(
    private readonly place: SocketPlace,
    private readonly services: readonly RegisteredService[],
    protoDir: string,
  ) {
    this.#server = new Server({
      'grpc.max_receive_message_length': MAX_MESSAGE_BYTES,
      'grpc.max_send_message_length': MAX_MESSAGE_BYTES,
      'grpc-node.flow_control_window': FLOW_CONTROL_BYTES,
    });
    for (const { definition, handlers } of services) this.#server.addService(definition, handlers);
    this.#names = ['', ...services.map(({ definition }) => nameOf(definition))];
    this.#health = new HealthImplementation(Object.fromEntries(this.#names.map((name) => [name, 'NOT_SERVING'])));
    this.#health.addToServer(this.#server);
    reflectionOf(
      protoDir,
      services.map(({ proto }) => proto),
    ).addToServer(this.#server);
  }

  /** Codes: already_exists (another controller answers), failed_precondition (the socket cannot be made). */
  async listen(): Promise<void> {
    const { path, group } = this.place;
    await mkdir(dirname(path), { recursive: true });
    if (await somebodyListens(path)) {
      throw new NexusError('already_exists', `a controller already listens on ${path}; nexus down stops it`);
    }
    await rm(path, { force: true });
    // Between bind and chmod the socket is there already: it must never be open to others.
    const before = process.umask(0o177);
    try {
      await new Promise<void>((resolve, reject) => {
        this.#server.bindAsync(`unix:${path}`, ServerCredentials.createInsecure(), (error) => {
          if (error === null) resolve();
          else
            reject(
              new NexusError('failed_precondition', `cannot listen on ${path}: ${error.message}`, {}, { cause: error }),
            );
        });
      });
    } finally {
      process.umask(before);
    }
    if (group !== undefined) await chown(path, process.getuid?.() ?? 0, group);
    await chmod(path, group === undefined ? 0o600 : 0o660);
  }

  setServing(isServing: boolean): void {
    for (const name of this.#names) this.#health.setStatus(name, isServing ? 'SERVING' : 'NOT_SERVING');
  }

  /** Takes no connections from the first call on; resolves, for every caller, when running calls have ended. */
  stop(): Promise<void> {
    return (this.#stopping ??= this.#stop());
  }

  async #stop(): Promise<void> {
    this.setServing(false);
    for (const { stop } of this.services) stop?.();
    await new Promise<void>((resolve) => {
      const timer = setTimeout(() => {
        this.#server.forceShutdown();
        resolve();
      }, DRAIN_TIMEOUT_MS);
      this.#server.tryShutdown(() => {
        clearTimeout(timer);
        resolve();
      });
    });
    await rm(this.place.path, { force: true });
  }
}

/** Throws when it could not describe one of `protos`: that would be a build that is not whole. */
function reflectionOf(protoDir: string, protos: readonly string[]): ReflectionService {
  const { file: files } = fromBinary(FileDescriptorSetSchema, readFileSync(join(protoDir, 'nexus.binpb')));
  const unknown = protos.find((proto) => !files.some(({ name }) => name === proto));
  if (unknown !== undefined) throw new NexusError('internal', `nexus.binpb does not describe ${unknown}; build again`);
  const fileDescriptorProtos = files.map((file) => Buffer.from(toBinary(FileDescriptorProtoSchema, file)));
  // Of a definition it reads the files and nothing else.
  const definition = { format: 'Protocol Buffer 3 EnumDescriptorProto', type: {}, fileDescriptorProtos } as const;
  return new ReflectionService({ nexus: definition });
}

/** Its full name, e.g. nexus.v1.NodeService: the first part of the path of each of its methods. */
const nameOf = (definition: ServiceDefinition): string => Object.values(definition)[0]?.path.split('/')[1] ?? '';

/** Whether a server takes connections there. Code: failed_precondition when that cannot be seen. */
export function somebodyListens(path: string): Promise<boolean> {
  if (!existsSync(path)) return Promise.resolve(false);
  return new Promise((resolve, reject) => {
    const socket = connect(path);
    socket.once('connect', () => {
      socket.destroy();
      resolve(true);
    });
    socket.once('error', (error: NodeJS.ErrnoException) => {
      socket.destroy();
      if (error.code === 'ECONNREFUSED' || error.code === 'ENOENT' || error.code === 'ENOTSOCK') resolve(false);
      else
        reject(
          new NexusError('failed_precondition', `${path} cannot be examined: ${error.message}`, {}, { cause: error }),
        );
    });
  });
}

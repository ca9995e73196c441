/**
 * gRPC over a Unix socket that only its owner, or one group besides, may open. A stale socket file is replaced; one
 * with a listening server never is.
 */
import { existsSync, readFileSync } from 'node:fs';
import { chmod, chown, mkdir, rm } from 'node:fs/promises';
import { connect } from 'node:net';
import { dirname, join } from 'node:path';
import { promisify } from 'node:util';
import { fromBinary, toBinary } from '@bufbuild/protobuf';
import { FileDescriptorProtoSchema, FileDescriptorSetSchema } from '@bufbuild/protobuf/wkt';
import {
  Server,
  ServerCredentials,
  type handleBidiStreamingCall,
  type MethodDefinition,
  type ServiceDefinition,
  type UntypedServiceImplementation,
} from '@grpc/grpc-js';
import { HealthImplementation } from 'grpc-health-check';
import { ReflectionService } from '@grpc/reflection';
import { endsWithin, outcome } from '../../shared/async/wait.js';
import { NexusError } from '../../shared/errors.js';
import { MIB } from '../../shared/limits.js';

export interface RegisteredService {
  /** The file below the folder of the protos that defines the service. */
  readonly proto: string;
  readonly definition: ServiceDefinition;
  readonly handlers: UntypedServiceImplementation;
  /** Called when the server closes, to end calls that would not end by themselves. */
  readonly close?: () => void;
}

/** Time for running calls to finish when the server stops. */
const DRAIN_TIMEOUT_MS = 5000;
const MAX_MESSAGE_BYTES = 4 * MIB;
/** With HTTP/2's default of 64 KiB a stream that many calls share would wait for its reader. */
const FLOW_CONTROL_BYTES = MIB;

export interface SocketPlace {
  readonly path: string;
  /** Group id that may open the socket besides the owner. */
  readonly group?: number;
}

export class SocketServer {
  readonly #server: Server;
  readonly #health: HealthImplementation;
  readonly #names: readonly string[];
  #closing: Promise<void> | undefined;

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
    addReflection(
      this.#server,
      protoDir,
      services.map(({ proto }) => proto),
    );
  }

  /** Codes: already_exists (another controller answers), failed_precondition (the socket cannot be made). */
  async listen(): Promise<void> {
    const { path, group } = this.place;
    await mkdir(dirname(path), { recursive: true });
    if (await somebodyListens(path)) {
      const advice = { key: 'stop-controller' } as const;
      throw new NexusError('already_exists', `a controller already listens on ${path}`, {}, { advice });
    }
    await rm(path, { force: true });
    // The socket exists between bind and chmod already: it must never be open to others.
    const before = process.umask(0o177);
    try {
      const bind = promisify(this.#server.bindAsync.bind(this.#server));
      await bind(`unix:${path}`, ServerCredentials.createInsecure()).catch((error: unknown) => {
        const message = `cannot listen on ${path}: ${(error as Error).message}`;
        throw new NexusError('failed_precondition', message, {}, { cause: error });
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

  /** Accepts no connections from the first call on; resolves for every caller when running calls have ended. */
  close(): Promise<void> {
    return (this.#closing ??= this.#close());
  }

  async #close(): Promise<void> {
    this.setServing(false);
    for (const service of this.services) service.close?.();
    const drained = promisify(this.#server.tryShutdown.bind(this.#server))();
    if (!(await endsWithin(DRAIN_TIMEOUT_MS, drained))) this.#server.forceShutdown();
    await rm(this.place.path, { force: true });
  }
}

const REFLECTION_SERVICES = ['grpc.reflection.v1.ServerReflection', 'grpc.reflection.v1alpha.ServerReflection'];
const REFLECTION_METHOD = 'ServerReflectionInfo';

/**
 * The standard reflection, in both its versions. It is made at the first call: that takes a third of the processor time of
 * a controller's start, and few ever ask. Throws if one of `protos` is missing in the description: the build is incomplete.
 */
function addReflection(server: Server, protoDir: string, protos: readonly string[]): void {
  const description = readFileSync(join(protoDir, 'nexus.binpb'));
  const unknown = protos.find((proto) => !description.includes(proto));
  if (unknown !== undefined) throw new NexusError('internal', `nexus.binpb does not describe ${unknown}; build again`);
  let made: ReadonlyMap<string, Reflection> | undefined;
  for (const name of REFLECTION_SERVICES) {
    const path = `/${name}/${REFLECTION_METHOD}`;
    const reflection = (): Reflection => {
      const found = (made ??= makeReflection(description)).get(path);
      if (found === undefined) throw new NexusError('internal', `there is no ${path}`);
      return found;
    };
    const method: MethodDefinition<unknown, unknown> = {
      path,
      requestStream: true,
      responseStream: true,
      requestSerialize: (value) => reflection().method.requestSerialize(value),
      requestDeserialize: (bytes) => reflection().method.requestDeserialize(bytes),
      responseSerialize: (value) => reflection().method.responseSerialize(value),
      responseDeserialize: (bytes) => reflection().method.responseDeserialize(bytes),
    };
    const handle: handleBidiStreamingCall<unknown, unknown> = (call) => {
      reflection().handle(call);
    };
    server.addService({ [REFLECTION_METHOD]: method }, { [REFLECTION_METHOD]: handle });
  }
}

interface Reflection {
  readonly method: MethodDefinition<unknown, unknown>;
  readonly handle: handleBidiStreamingCall<unknown, unknown>;
}

/** Returns the handlers that the package adds to a server, by path. */
function makeReflection(description: Buffer): ReadonlyMap<string, Reflection> {
  const { file: files } = fromBinary(FileDescriptorSetSchema, description);
  const fileDescriptorProtos = files.map((file) => Buffer.from(toBinary(FileDescriptorProtoSchema, file)));
  // The service reads only the files of a definition.
  const definition = { format: 'Protocol Buffer 3 EnumDescriptorProto', type: {}, fileDescriptorProtos } as const;
  const added = new Map<string, Reflection>();
  const addService: Server['addService'] = (methods, handlers) => {
    for (const [name, method] of Object.entries(methods)) {
      const handle = handlers[name] as handleBidiStreamingCall<unknown, unknown>;
      added.set(method.path, { method, handle });
    }
  };
  new ReflectionService({ nexus: definition }).addToServer({ addService });
  return added;
}

/** Its full name, e.g. nexus.v1.NodeService: the first part of the path of each of its methods. */
const nameOf = (definition: ServiceDefinition): string => Object.values(definition)[0]?.path.split('/')[1] ?? '';

/** Whether a server accepts connections at the path. Code: failed_precondition if that can't be determined. */
export function somebodyListens(path: string): Promise<boolean> {
  if (!existsSync(path)) return Promise.resolve(false);
  return outcome((resolve, reject) => {
    const socket = connect(path);
    socket.once('connect', () => resolve(true));
    socket.once('error', (error: NodeJS.ErrnoException) => {
      if (error.code === 'ECONNREFUSED' || error.code === 'ENOENT' || error.code === 'ENOTSOCK') resolve(false);
      else
        reject(
          new NexusError('failed_precondition', `${path} cannot be examined: ${error.message}`, {}, { cause: error }),
        );
    });
    return () => socket.destroy();
  });
}

/** ExecInNode: one bidirectional stream per command. The command dies with the caller's connection. */
import type { handleBidiStreamingCall, ServerDuplexStream } from '@grpc/grpc-js';
import { onAbort } from '../../../../shared/async/wait.js';
import { NexusError, toNexusError } from '../../../../shared/errors.js';
import type { ExecInNodeRequest, ExecInNodeResponse, ExecStart } from '../../../../shared/gen/nexus/v1/node.js';
import { statusOf } from '../../../../shared/rpc/status.js';
import type { NodeService } from '../../../node/service.js';
import type { ExecHandle } from '../../../hosting/runtime.js';
import type { Edge } from '../../admission.js';
import { admitted, sendOn } from '../../handlers.js';
import { execStartSchema, signalSchema, terminalSizeSchema } from './schemas.js';
import { parseRequest } from '../../validate.js';

type Call = ServerDuplexStream<ExecInNodeRequest, ExecInNodeResponse>;

const DEFAULT_COLUMNS = 80;
const DEFAULT_ROWS = 24;

export function execHandler(
  service: NodeService,
  edge: Edge,
): handleBidiStreamingCall<ExecInNodeRequest, ExecInNodeResponse> {
  return (call: Call) => {
    const gone = new AbortController();
    call.on('cancelled', () => {
      gone.abort(new NexusError('cancelled', 'the caller went away'));
    });
    // A broken transport surfaces as 'cancelled'; without a listener the error itself would end the process.
    call.on('error', () => undefined);
    admitted(
      edge,
      call,
      () => run(service, call, gone.signal),
      () => {
        call.end();
      },
      (error) => {
        if (!gone.signal.aborted) call.emit('error', statusOf(error));
      },
    );
  };
}

async function run(service: NodeService, call: Call, gone: AbortSignal): Promise<void> {
  const messages = call[Symbol.asyncIterator]() as AsyncIterator<ExecInNodeRequest>;
  const first = await messages.next();
  const start = first.done === true ? undefined : first.value.start;
  if (start === undefined) throw new NexusError('invalid_argument', 'the first message must say what to start');
  const handle = await begin(service, start);
  const kill = (): void => {
    void handle.kill();
  };
  using _gone = onAbort(gone, kill);
  let failure: NexusError | undefined;
  // Runs beside the command; ends with the caller's last message.
  void feed(messages, handle).catch((error: unknown) => {
    failure = toNexusError(error);
    kill();
  });
  const sent: Promise<void>[] = [];
  handle.onOutput((stream, data) => {
    const sending = sendOn(call, stream === 'stdout' ? { stdout: data } : { stderr: data }, gone);
    sent[0] = sending;
    return sending;
  });
  const exitCode = await handle.exited;
  await sent[0]?.catch(() => undefined);
  if (failure !== undefined && !gone.aborted) throw failure;
  if (!gone.aborted) await sendOn(call, { exitCode }, gone);
}

async function begin(service: NodeService, request: ExecStart): Promise<ExecHandle> {
  const start = parseRequest(execStartSchema, request);
  const handle = await service.exec(start.node, {
    command: start.command,
    tty: start.tty,
    columns: start.columns || DEFAULT_COLUMNS,
    rows: start.rows || DEFAULT_ROWS,
    env: start.env,
    uid: start.uid,
    workingDir: start.workingDir || '/',
  });
  if (!start.stdin) handle.endInput();
  return handle;
}

async function feed(messages: AsyncIterator<ExecInNodeRequest>, handle: ExecHandle): Promise<void> {
  for (let next = await messages.next(); next.done !== true; next = await messages.next()) {
    const { stdin, stdinEnd, resize, signal } = next.value;
    if (stdin !== undefined) await handle.write(stdin);
    else if (stdinEnd === true) handle.endInput();
    else if (resize !== undefined) {
      const { columns, rows } = parseRequest(terminalSizeSchema, resize);
      handle.resize(columns, rows);
    } else if (signal !== undefined) handle.signal(parseRequest(signalSchema, signal));
  }
}

/** A local stream of bytes as a client stream of messages. */
import type { ClientWritableStream, ServiceError } from '@grpc/grpc-js';
import type { Readable } from 'node:stream';
import { onAbort, once } from '../../shared/async/wait.js';
import type { Controller } from '../connect/connection.js';

/** Ends early when the controller refuses in the middle; `messages` come one for each piece of `source`, after `first`. */
export async function sendBytes<Request, Response>(
  controller: Controller,
  start: (done: (error: ServiceError | null, response: Response) => void) => ClientWritableStream<Request>,
  messages: { readonly first?: Request; readonly of: (data: Buffer) => Request },
  source: Readable,
  signal: AbortSignal,
): Promise<Response> {
  const { stream, answer } = controller.answerOf<Request, Response>(start);
  // The controller may refuse in the middle, or go; then nobody waits for the rest, nor for a pipe that nothing comes from.
  const answered = new AbortController();
  const onAnswer = (): void => {
    answered.abort();
    source.destroy();
  };
  answer.then(onAnswer, onAnswer);
  using _gone = onAbort(signal, (reason) => {
    stream.cancel();
    // A pipe that nothing comes from would be waited for.
    source.destroy(reason as Error);
  });
  const send = async (): Promise<void> => {
    try {
      if (messages.first !== undefined) stream.write(messages.first);
      for await (const data of source as AsyncIterable<Buffer>) {
        if (answered.signal.aborted) break;
        if (!stream.write(messages.of(data))) await once(stream, 'drain', answered.signal).catch(() => undefined);
      }
      stream.end();
    } catch (error) {
      // The answer has ended the source, and says how it went.
      if (answered.signal.aborted && !signal.aborted) return;
      // A source that could not be read to its end must not look as if it had been sent whole.
      stream.cancel();
      throw error;
    }
  };
  await send();
  return await answer;
}

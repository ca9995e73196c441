/**
 * Tells HTTP/2 from HTTP/1.1 on a port that takes both. On TLS the handshake has settled it; otherwise the first bytes
 * do, since no HTTP/1.1 request begins as HTTP/2's preface does. What was read is put back.
 */
import type { Socket } from 'node:net';
import { after, cancel } from '../../shared/async/timers.js';
import { outcome } from '../../shared/async/wait.js';

/** RFC 9113, 3.4; no method of HTTP/1.1 is called so. */
const PREFACE = Buffer.from('PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n');

/** Undefined: it said nothing that tells within the time, or ended. The socket is then destroyed. */
export async function speaksHttp2(socket: Socket, withinMs: number): Promise<boolean | undefined> {
  const { alpnProtocol } = socket as { alpnProtocol?: string | false | null };
  if (typeof alpnProtocol === 'string') return alpnProtocol === 'h2';
  const head = await firstBytes(socket, withinMs);
  if (head === undefined) {
    socket.destroy();
    return undefined;
  }
  socket.unshift(head);
  return isPreface(head);
}

const isPreface = (head: Buffer): boolean =>
  head.subarray(0, PREFACE.length).equals(PREFACE.subarray(0, Math.min(head.length, PREFACE.length)));

/** As many as tell: the first that differs from the preface does, or all of it. */
function firstBytes(socket: Socket, withinMs: number): Promise<Buffer | undefined> {
  const start = (resolve: (found: Buffer | undefined) => void): (() => void) => {
    let head = Buffer.alloc(0);
    const onEnd = (): void => resolve(undefined);
    const onReadable = (): void => {
      const data = socket.read() as Buffer | null;
      if (data === null) {
        // All that came before the end; too little for either.
        if (socket.readableEnded) onEnd();
        return;
      }
      head = Buffer.concat([head, data]);
      if (head.length >= PREFACE.length || !isPreface(head)) resolve(head);
    };
    const timer = after(withinMs, onEnd);
    socket.on('readable', onReadable).once('error', onEnd).once('close', onEnd);
    return () => {
      cancel(timer);
      socket.off('readable', onReadable).off('error', onEnd).off('close', onEnd);
    };
  };
  return outcome(start);
}

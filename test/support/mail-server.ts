/** A real mail server on loopback, with STARTTLS or TLS and login, that keeps what it is given. */
import { once } from 'node:events';
import type { AddressInfo } from 'node:net';
import { SMTPServer, type SMTPServerOptions } from 'smtp-server';
import { CERTIFICATE, CERTIFICATE_KEY } from './certificate.js';

export const MAIL_USER = 'nexus';
export const MAIL_PASSWORD = 'the mail server’s own password';

export interface ReceivedMail {
  readonly from: string;
  readonly to: readonly string[];
  readonly text: string;
  readonly wasEncrypted: boolean;
  readonly user: string;
}

export class MailServer implements AsyncDisposable {
  readonly received: ReceivedMail[] = [];
  readonly #server: SMTPServer;

  private constructor(options: SMTPServerOptions) {
    this.#server = new SMTPServer({
      key: CERTIFICATE_KEY,
      cert: CERTIFICATE,
      disableReverseLookup: true,
      onAuth: ({ username, password }, _session, done) => {
        if (username === MAIL_USER && password === MAIL_PASSWORD) done(null, { user: username });
        else done(new Error('Invalid login'));
      },
      onData: (stream, session, done) => {
        const parts: Buffer[] = [];
        stream.on('data', (part: Buffer) => parts.push(part));
        stream.once('end', () => {
          this.received.push({
            from: session.envelope.mailFrom === false ? '' : session.envelope.mailFrom.address,
            to: session.envelope.rcptTo.map(({ address }) => address),
            text: Buffer.concat(parts).toString('utf8'),
            wasEncrypted: session.secure,
            user: typeof session.user === 'string' ? session.user : '',
          });
          done();
        });
      },
      ...options,
    });
    // Clients that break off are part of the tests.
    this.#server.on('error', () => undefined);
  }

  static async start(options: SMTPServerOptions = {}): Promise<MailServer> {
    const server = new MailServer(options);
    const listener = server.#server.listen(0, '127.0.0.1');
    if (!listener.listening) await once(listener, 'listening');
    return server;
  }

  get port(): number {
    return (this.#server.server.address() as AddressInfo).port;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await new Promise<void>((resolve) => {
      this.#server.close(resolve);
    });
  }
}

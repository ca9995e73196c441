/** A real mail server on loopback, with STARTTLS or TLS and login, that keeps what it is given. */
import { once } from 'node:events';
import type { AddressInfo } from 'node:net';
import { SMTPServer, type SMTPServerOptions } from 'smtp-server';

export const MAIL_USER = 'nexus';
export const MAIL_PASSWORD = 'the mail server’s own password';

/** Signed by itself, for localhost and 127.0.0.1, valid for a century: of use for nothing but these tests. */
export const MAIL_CERTIFICATE = `-----BEGIN CERTIFICATE-----
MIIBnDCCAUGgAwIBAgIUWOpRr9t4trdBAk90n/Rdw32X66YwCgYIKoZIzj0EAwIw
FDESMBAGA1UEAwwJbG9jYWxob3N0MCAXDTI2MTEyNDEyMzIzN1oYDzIxMjYxMDMx
MTIzMjM3WjAUMRIwEAYDVQQDDAlsb2NhbGhvc3QwWTATBgcqhkjOPQIBBggqhkjO
PQMBBwNCAASiKC4Luh2x8YH12h5IS6IrOTkYf7B9jpgytl3Mekvo98cnJ3SvliY9
9V4w73Xb0du3sw+orz31UZxQqYhKPyPmo28wbTAdBgNVHQ4EFgQUmNCovqGcZclt
RHzG1ptMzNLE6HMwHwYDVR0jBBgwFoAUmNCovqGcZcltRHzG1ptMzNLE6HMwGgYD
VR0RBBMwEYIJbG9jYWxob3N0hwR/AAABMA8GA1UdEwEB/wQFMAMBAf8wCgYIKoZI
zj0EAwIDSQAwRgIhAOjoSoTMpBmVCbnr8AZ60dD/+iYFV+YYvwabBuI3WG0xAiEA
w0LwvuUKwIKdkczD1qQjxPCnqA50hfbKy4Pd+6sthUI=
-----END CERTIFICATE-----
`;
const KEY = `-----BEGIN PRIVATE KEY-----
MIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0wawIBAQQgRpgQjDfB87lNqIxy
I0rrPa8OjEIguB7X1mUL/u1KCVOhRANCAASiKC4Luh2x8YH12h5IS6IrOTkYf7B9
jpgytl3Mekvo98cnJ3SvliY99V4w73Xb0du3sw+orz31UZxQqYhKPyPm
-----END PRIVATE KEY-----
`;

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
      key: KEY,
      cert: MAIL_CERTIFICATE,
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

/** Mail through an SMTP server. Each mail has its own connection: there are few, and idle connections go stale. */
import { readFile } from 'node:fs/promises';
import { Socket } from 'node:net';
import { createTransport } from 'nodemailer';
import { onAbort } from '../../shared/async/wait.js';
import { NexusError } from '../../shared/errors.js';
import type { Mail, Mailer } from './port.js';

export interface SmtpOptions {
  readonly host: string;
  readonly port: number;
  /** starttls: refused unless the server offers it; tls: from the first byte; none: for a server on this machine. */
  readonly security: 'starttls' | 'tls' | 'none';
  readonly login: { readonly user: string; readonly password: string } | undefined;
  /** PEM of the authority that signed the server's certificate; undefined: Node's default authorities. */
  readonly certificateAuthority: string | undefined;
  readonly from: string;
}

/** As in shared/config/settings.ts, with mandatory settings required. */
export interface SmtpSettings {
  readonly host: string;
  readonly from: string;
  readonly smtpPort?: number | undefined;
  readonly smtpSecurity: SmtpOptions['security'];
  readonly smtpUser?: string | undefined;
  readonly smtpPasswordFile?: string | undefined;
  readonly smtpCaFile?: string | undefined;
}

const DEFAULT_PORTS = { starttls: 587, tls: 465, none: 25 } as const;

/** Per step: a slower server is of no use for codes that live five minutes by default. */
const STEP_TIMEOUT_MS = 10_000;

export class SmtpMailer implements Mailer {
  readonly destination: string;

  constructor(private readonly options: SmtpOptions) {
    this.destination = `smtp server ${options.host}:${options.port} (${options.security})`;
  }

  /** Reads password and authority from their files. Code: invalid_argument (a file can't be read). */
  static async open(settings: SmtpSettings): Promise<SmtpMailer> {
    const { host, from, smtpSecurity: security, smtpUser: user, smtpPasswordFile, smtpCaFile } = settings;
    const password = await fileText('smtp-password-file', smtpPasswordFile);
    return new SmtpMailer({
      host,
      port: settings.smtpPort ?? DEFAULT_PORTS[security],
      security,
      login: user === undefined || password === undefined ? undefined : { user, password },
      certificateAuthority: await fileText('smtp-ca-file', smtpCaFile),
      from,
    });
  }

  async send(mail: Mail, signal: AbortSignal): Promise<void> {
    // Our own socket, so that a connection that a mail server leaves open can be ended in the middle of a step.
    const socket = new Socket();
    const transport = this.#transport(socket);
    using _gone = onAbort(signal, () => socket.destroy(new Error('given up')));
    try {
      signal.throwIfAborted();
      await transport.sendMail({ from: this.options.from, to: { name: '', address: mail.to }, ...content(mail) });
    } catch (error) {
      throw translate(error, this.destination);
    } finally {
      transport.close();
    }
  }

  #transport(socket: Socket): ReturnType<typeof createTransport> {
    const { host, port, security, login, certificateAuthority } = this.options;
    return createTransport({
      socket,
      host,
      port,
      secure: security === 'tls',
      requireTLS: security === 'starttls',
      ignoreTLS: security === 'none',
      tls: { minVersion: 'TLSv1.2', ...(certificateAuthority === undefined ? {} : { ca: certificateAuthority }) },
      ...(login === undefined ? {} : { auth: { user: login.user, pass: login.password } }),
      connectionTimeout: STEP_TIMEOUT_MS,
      greetingTimeout: STEP_TIMEOUT_MS,
      socketTimeout: STEP_TIMEOUT_MS,
      // Mails here are plain text; nothing in them may make nodemailer fetch a file or a page.
      disableFileAccess: true,
      disableUrlAccess: true,
    });
  }
}

async function fileText(setting: string, path: string | undefined): Promise<string | undefined> {
  if (path === undefined) return undefined;
  try {
    return (await readFile(path, 'utf8')).trim();
  } catch (error) {
    const said = (error as Error).message;
    throw new NexusError('invalid_argument', `setting ${setting}: ${said}`, { field: setting }, { cause: error });
  }
}

const content = ({ subject, text }: Mail): { subject: string; text: string } => ({ subject, text });

/** The server's message may contain the address: only its code is passed on. */
function translate(error: unknown, destination: string): NexusError {
  const { code, responseCode } = error as { code?: string; responseCode?: number };
  const isRefused = responseCode !== undefined && responseCode >= 500;
  const reply = responseCode === undefined ? '' : `, reply ${responseCode}`;
  return new NexusError(
    isRefused || code === 'EAUTH' ? 'failed_precondition' : 'unavailable',
    `${destination} did not accept it (${code ?? 'no code'}${reply}); check the smtp settings`,
  );
}

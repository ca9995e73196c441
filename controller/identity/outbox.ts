/**
 * Mail as files, where no mail server is configured: the operator reads them and passes the codes on. Folder and files
 * are the operator's alone, and only the newest are kept.
 */
import { randomBytes } from 'node:crypto';
import { chmod, mkdir, readdir, rm } from 'node:fs/promises';
import { join } from 'node:path';
import type { Clock } from '../../shared/async/clock.js';
import { writeSecret } from '../host/secret-file.js';
import type { Mail, Mailer } from './port.js';

/** Codes are void after minutes; what is older is history. */
const MAX_KEPT = 1000;
const SUFFIX = '.eml';

export class OutboxMailer implements Mailer {
  readonly destination: string;

  private constructor(
    private readonly folder: string,
    private readonly from: string,
    private readonly clock: Clock,
  ) {
    this.destination = `the outbox folder ${folder}`;
  }

  /** Makes the folder, or takes it away from others. */
  static async open(folder: string, from: string, clock: Clock): Promise<OutboxMailer> {
    await mkdir(folder, { recursive: true, mode: 0o700 });
    await chmod(folder, 0o700);
    return new OutboxMailer(folder, from, clock);
  }

  async send({ to, subject, text }: Mail): Promise<void> {
    const at = new Date(this.clock.now());
    // The time first: names sort by age.
    const name = `${at.toISOString().replaceAll(':', '')}-${randomBytes(3).toString('hex')}${SUFFIX}`;
    const head = [`Date: ${at.toUTCString()}`, `From: ${this.from}`, `To: ${to}`, `Subject: ${subject}`];
    // Under its name a mail is whole.
    await writeSecret(join(this.folder, name), `${head.join('\n')}\n\n${text}`);
    await this.#trim();
  }

  async #trim(): Promise<void> {
    const kept = (await readdir(this.folder)).filter((name) => name.endsWith(SUFFIX)).sort();
    for (const name of kept.slice(0, Math.max(0, kept.length - MAX_KEPT))) {
      // The mail is there: what else lies in the folder and can't be removed does not make it fail.
      await rm(join(this.folder, name), { force: true }).catch(() => undefined);
    }
  }
}

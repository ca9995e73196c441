/** A mailer that keeps what it is given, for tests. Scriptable: the next mails can be refused, or held up. */
import { NexusError } from '../../shared/errors.js';
import type { Mail, Mailer } from '../../controller/identity/port.js';

export class FakeMailer implements Mailer {
  readonly destination = 'nowhere';
  readonly sent: Mail[] = [];
  #failures = 0;
  #gate: Promise<void> = Promise.resolve();

  failNext(count: number): void {
    this.#failures = count;
  }

  /** Nothing is taken until the returned function is called. */
  hold(): () => void {
    let open = (): void => undefined;
    this.#gate = new Promise((resolve) => {
      open = resolve;
    });
    return open;
  }

  async send(mail: Mail): Promise<void> {
    await this.#gate;
    if (this.#failures > 0) {
      this.#failures -= 1;
      throw new NexusError('unavailable', 'the mail server is away');
    }
    this.sent.push(mail);
  }
}

/** Mail leaves through a real SMTP server, or into a folder; never in clear where it must not, never in the way. */
import { mkdtemp, readdir, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Writable } from 'node:stream';
import { expect } from 'chai';
import { pino } from 'pino';
import { inCommandWords } from '../../shared/advice/command-words.js';
import { systemClock } from '../../shared/async/clock.js';
import { createLogger } from '../../shared/log.js';
import { FakeMailer } from '../fakes/mailer.js';
import { MailQueue } from '../../controller/identity/mail-queue.js';
import { OutboxMailer } from '../../controller/identity/outbox.js';
import { SmtpMailer, type SmtpSettings } from '../../controller/identity/smtp.js';
import { errorOf } from '../support/codes.js';
import { CERTIFICATE } from '../support/certificate.js';
import { MAIL_PASSWORD, MAIL_USER, MailServer } from '../support/mail-server.js';

const MAIL = { to: 'alice@example.org', subject: 'Your code', text: 'Code: 123456\n' };

describe('mail', () => {
  let folder: string;
  const never = new AbortController().signal;

  beforeEach(async () => {
    folder = await mkdtemp(join(tmpdir(), 'nexus-mail-'));
    await writeFile(join(folder, 'password'), `${MAIL_PASSWORD}\n`);
    await writeFile(join(folder, 'ca.pem'), CERTIFICATE);
  });
  afterEach(async () => {
    await rm(folder, { recursive: true });
  });

  const mailerFor = (server: MailServer, change: Partial<SmtpSettings> = {}): Promise<SmtpMailer> =>
    SmtpMailer.open({
      host: '127.0.0.1',
      from: 'nexus@example.org',
      smtpPort: server.port,
      smtpSecurity: 'starttls',
      smtpUser: MAIL_USER,
      smtpPasswordFile: join(folder, 'password'),
      smtpCaFile: join(folder, 'ca.pem'),
      ...change,
    });

  describe('by SMTP', () => {
    it('goes with STARTTLS and a login', async () => {
      await using server = await MailServer.start();
      const mailer = await mailerFor(server);
      expect(mailer.destination).to.equal(`smtp server 127.0.0.1:${server.port} (starttls)`);
      await mailer.send(MAIL, never);
      const [mail] = server.received;
      expect(mail).to.deep.include({
        from: 'nexus@example.org',
        to: ['alice@example.org'],
        wasEncrypted: true,
        user: MAIL_USER,
      });
      expect(mail?.text).to.include('Subject: Your code').and.include('Code: 123456');
    });

    it('goes with TLS from the first byte', async () => {
      await using server = await MailServer.start({ secure: true });
      await (await mailerFor(server, { smtpSecurity: 'tls' })).send(MAIL, never);
      expect(server.received[0]).to.include({ wasEncrypted: true, user: MAIL_USER });
    });

    it('goes in clear only where that was asked for', async () => {
      await using server = await MailServer.start({ hideSTARTTLS: true, authOptional: true });
      const open = { smtpSecurity: 'none', smtpUser: undefined, smtpPasswordFile: undefined } as const;
      await (await mailerFor(server, open)).send(MAIL, never);
      expect(server.received[0]).to.include({ wasEncrypted: false, user: '' });
    });

    it('does not go to a server that does not offer STARTTLS, nor does the password', async () => {
      const logins: string[] = [];
      await using server = await MailServer.start({
        hideSTARTTLS: true,
        disabledCommands: ['STARTTLS'],
        allowInsecureAuth: true,
        onAuth: ({ username }, _session, done) => {
          logins.push(username ?? '');
          done(null, { user: username });
        },
      });
      const mailer = await mailerFor(server);
      expect((await errorOf(() => mailer.send(MAIL, never))).code).to.equal('failed_precondition');
      expect(server.received).to.deep.equal([]);
      expect(logins).to.deep.equal([]);
    });

    it('does not go to a server whose certificate nobody vouches for', async () => {
      await using server = await MailServer.start();
      const mailer = await mailerFor(server, { smtpCaFile: undefined });
      await errorOf(() => mailer.send(MAIL, never));
      expect(server.received).to.deep.equal([]);
    });

    it('that is refused says so, with no word of the address, the code or the password', async () => {
      await using server = await MailServer.start({
        onRcptTo: ({ address }, _session, done) => {
          done(Object.assign(new Error(`no mailbox ${address}`), { responseCode: 550 }));
        },
      });
      const refused = await errorOf(async () => (await mailerFor(server)).send(MAIL, never));
      expect(refused.code).to.equal('failed_precondition');
      await writeFile(join(folder, 'password'), 'wrong');
      const notIn = await errorOf(async () => (await mailerFor(server)).send(MAIL, never));
      expect(notIn.code).to.equal('failed_precondition');
      for (const { message } of [refused, notIn]) {
        expect(message).not.to.include('alice').and.not.include('123456').and.not.include('wrong');
      }
    });

    it('gives up on a server that says nothing when it is told to', async () => {
      const silent = createServer().listen(0, '127.0.0.1');
      await new Promise((resolve) => silent.once('listening', resolve));
      const { port } = silent.address() as { port: number };
      const giveUp = new AbortController();
      silent.once('connection', (socket) => {
        socket.on('error', () => undefined);
        giveUp.abort();
      });
      const mailer = new SmtpMailer({
        host: '127.0.0.1',
        port,
        security: 'none',
        login: undefined,
        certificateAuthority: undefined,
        from: 'nexus@example.org',
      });
      expect((await errorOf(() => mailer.send(MAIL, giveUp.signal))).code).to.equal('unavailable');
      await new Promise((resolve) => silent.close(resolve));
    });

    it('arrives at once while the server takes its time with one other domain', async () => {
      await using server = await MailServer.start({
        hideSTARTTLS: true,
        authOptional: true,
        onRcptTo: ({ address }, _session, done) => {
          // Ended with the connection: the queue gives these up when it closes.
          if (!address.endsWith('@slow.example')) done();
          else setTimeout(done, 9000).unref();
        },
      });
      const open = { smtpSecurity: 'none', smtpUser: undefined, smtpPasswordFile: undefined } as const;
      const log = createLogger('test', 'silent');
      const queue = new MailQueue({ mailer: await mailerFor(server, open), log, clock: systemClock });
      for (let number = 0; number < 8; number += 1) queue.reserve().post({ ...MAIL, to: `u${number}@slow.example` });
      queue.reserve().post(MAIL);
      const until = performance.now() + 8000;
      while (server.received.length === 0 && performance.now() < until)
        await new Promise((resolve) => setTimeout(resolve, 20));
      expect(server.received.map(({ to }) => to)).to.deep.equal([['alice@example.org']]);
      await queue.close();
    });

    it('names the setting whose file can not be read', async () => {
      await using server = await MailServer.start();
      const error = await errorOf(() => mailerFor(server, { smtpPasswordFile: join(folder, 'none') }));
      expect(error.code).to.equal('invalid_argument');
      expect(error.message).to.include('smtp-password-file');
    });
  });

  describe('into the outbox', () => {
    it('is whole under its name, for the operator alone, oldest first', async () => {
      const outbox = join(folder, 'outbox');
      let nowMs = 1_790_000_000_000;
      const clock = { ...systemClock, now: () => (nowMs += 1000) };
      const mailer = await OutboxMailer.open(outbox, 'nexus@localhost', clock);
      await mailer.send(MAIL);
      await mailer.send({ ...MAIL, text: 'Code: 654321\n' });
      const names = (await readdir(outbox)).sort();
      expect(names).to.have.length(2);
      const text = await readFile(join(outbox, names[0]!), 'utf8');
      expect(text)
        .to.match(/^To: alice@example.org$/m)
        .and.match(/\n\nCode: 123456\n$/);
      expect((await stat(outbox)).mode & 0o777).to.equal(0o700);
      expect((await stat(join(outbox, names[0]!))).mode & 0o777).to.equal(0o600);
    });

    it('keeps the newest thousand', async () => {
      const outbox = join(folder, 'outbox');
      const mailer = await OutboxMailer.open(outbox, 'nexus@localhost', systemClock);
      for (let number = 0; number < 1000; number += 1) {
        await writeFile(join(outbox, `2020-01-01-${String(number).padStart(4, '0')}.eml`), '');
      }
      await mailer.send(MAIL);
      const names = (await readdir(outbox)).sort();
      expect(names).to.have.length(1000);
      expect(names[0]).to.equal('2020-01-01-0001.eml');
    });
  });

  describe('in the queue', () => {
    const lines: string[] = [];
    const keep = (line: Buffer, _encoding: string, done: () => void): void => {
      lines.push(line.toString());
      done();
    };
    const log = pino({}, new Writable({ write: keep }));

    it('is sent after the answer, in order', async () => {
      const mailer = new FakeMailer();
      const release = mailer.hold();
      const queue = new MailQueue({ mailer, log, clock: systemClock });
      for (const subject of ['1', '2']) {
        using place = queue.reserve();
        place.post({ ...MAIL, subject });
      }
      expect(mailer.sent).to.deep.equal([]);
      release();
      await queue.idle();
      expect(mailer.sent.map(({ subject }) => subject)).to.deep.equal(['1', '2']);
    });

    it('has bounded room, which is given back when nothing was posted and when it was sent', async () => {
      const mailer = new FakeMailer();
      const release = mailer.hold();
      const queue = new MailQueue({ mailer, log, clock: systemClock });
      const places = Array.from({ length: 200 }, () => queue.reserve());
      const full = await errorOf(() => queue.reserve());
      expect(full.code).to.equal('unavailable');
      expect(full.details['retry_after_ms']).to.be.a('number');
      places[0]![Symbol.dispose]();
      places[0]![Symbol.dispose]();
      const again = queue.reserve();
      await errorOf(() => queue.reserve());
      again.post(MAIL);
      again[Symbol.dispose]();
      await errorOf(() => queue.reserve());
      release();
      await queue.idle();
      queue.reserve();
    });

    it('delivers at once while other domains’ servers hold their mail up, however many do', async () => {
      const started: string[] = [];
      let release = (): void => undefined;
      const held = new Promise<void>((resolve) => (release = resolve));
      const mailer = {
        destination: 'nowhere',
        send: async ({ to }: { to: string }, signal: AbortSignal) => {
          started.push(to);
          if (to.endsWith('@fast.example')) return;
          await Promise.race([
            held,
            new Promise((_resolve, reject) => {
              signal.addEventListener('abort', () => {
                reject(new Error('given up'));
              });
            }),
          ]);
        },
      };
      const queue = new MailQueue({ mailer, log, clock: systemClock });
      // One domain alone can't even slow it down.
      for (let number = 0; number < 60; number += 1) queue.reserve().post({ ...MAIL, to: `u${number}@slow.example` });
      expect(queue.statistics.failed, 'beyond the room of one domain').to.equal(10);
      queue.reserve().post({ ...MAIL, to: 'alice@fast.example' });
      await new Promise((resolve) => setTimeout(resolve, 50));
      expect(started.filter((to) => to.endsWith('@slow.example'))).to.have.length(3);
      expect(started).to.include('alice@fast.example');
      // More domains than there are places: each holds one for no longer than it takes to be known as slow.
      for (let number = 0; number < 20; number += 1) queue.reserve().post({ ...MAIL, to: `u@slow${number}.example` });
      queue.reserve().post({ ...MAIL, to: 'bob@fast.example' });
      const until = performance.now() + 12_000;
      while (!started.includes('bob@fast.example') && performance.now() < until)
        await new Promise((resolve) => setTimeout(resolve, 50));
      expect(started).to.include('bob@fast.example');
      release();
      await queue.idle();
    });

    it('tells of failures by a warning, a count and one event a minute, without addresses', async () => {
      const told: string[] = [];
      const events = {
        append: (type: string, _subject: string, message: string) => {
          told.push(`${type}: ${message}`);
          return Promise.resolve();
        },
      };
      const mailer = new FakeMailer();
      let nowMs = 0;
      const queue = new MailQueue({ mailer, log, clock: { ...systemClock, monotonic: () => nowMs }, events });
      expect(queue.statistics.warnings).to.deep.equal([]);
      mailer.failNext(3);
      for (const to of ['a@one.example', 'b@two.example', 'c@three.example']) queue.reserve().post({ ...MAIL, to });
      await queue.idle();
      expect(queue.statistics).to.include({ failed: 3, sent: 0 });
      expect(told).to.deep.equal(['mail.failed: a mail could not be sent: the mail server is away']);
      const [warning = '', ...rest] = queue.statistics.warnings.map(inCommandWords);
      expect(rest).to.deep.equal([]);
      expect(warning).to.match(
        /^3 mail\(s\) could not be sent .* the mail server is away; mail goes to nowhere: .*smtp/,
      );
      expect(warning).not.to.include('example');
      queue.reserve().post({ ...MAIL, to: 'd@four.example' });
      await queue.idle();
      expect(queue.statistics.warnings[0]?.message).to.match(/^3 mail\(s\) .*; later mail was sent, /);
      nowMs += 11 * 60_000;
      expect(queue.statistics.warnings).to.deep.equal([]);
    });

    it('keeps the order of mails to one mailbox, and gives up what has waited for too long', async () => {
      const mailer = new FakeMailer();
      const release = mailer.hold();
      let nowMs = 0;
      const queue = new MailQueue({ mailer, log, clock: { ...systemClock, monotonic: () => nowMs } });
      for (const subject of ['1', '2', '3']) queue.reserve().post({ ...MAIL, subject });
      await new Promise((resolve) => setImmediate(resolve));
      nowMs += 121_000;
      release();
      await queue.idle();
      expect(mailer.sent.map(({ subject }) => subject)).to.deep.equal(['1']);
      expect(queue.statistics.failed).to.equal(2);
    });

    it('goes on after a failure, which the log tells without address or text', async () => {
      lines.length = 0;
      const mailer = new FakeMailer();
      mailer.failNext(1);
      const queue = new MailQueue({ mailer, log, clock: systemClock });
      queue.reserve().post(MAIL);
      queue.reserve().post({ ...MAIL, subject: 'second' });
      await queue.close();
      expect(mailer.sent.map(({ subject }) => subject)).to.deep.equal(['second']);
      expect(lines.join('')).to.include('could not be sent').and.not.include('alice').and.not.include('123456');
    });
  });
});

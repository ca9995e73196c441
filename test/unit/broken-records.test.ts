/** One record that makes no sense is told, or passed over, alone: those beside it are as good as before. */
import { expect } from 'chai';
import { chmodSync, mkdirSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { loadAccounts } from '../../controller/bus/credentials.js';
import { identify, identityIn } from '../../controller/host/process-identity.js';
import { OutboxMailer } from '../../controller/identity/outbox.js';
import { SessionFile } from '../../cli/connect/session-file.js';
import { systemClock } from '../../shared/async/clock.js';
import { rememberedRuntime } from '../../shared/config/choices.js';
import { refusalIn, storedReplyIn } from '../../shared/data-plane.js';
import { codeOf, errorOf } from '../support/codes.js';

describe('a broken record', () => {
  let folder: string;
  beforeEach(() => {
    folder = mkdtempSync(join(tmpdir(), 'nexus-broken-'));
  });
  afterEach(() => {
    rmSync(folder, { recursive: true });
  });
  const attempt = <Result>(work: () => Result): Promise<Result> => Promise.resolve().then(work);

  it('among sessions is no session, and the others are', async () => {
    const sessions = new SessionFile({ XDG_CONFIG_HOME: folder });
    const good = { url: 'https://good:1', username: 'ann', token: 't', expires_at: '2030-01-01T00:00:00Z' };
    const write = (contents: unknown): void => {
      mkdirSync(dirname(sessions.path), { recursive: true });
      writeFileSync(sessions.path, typeof contents === 'string' ? contents : JSON.stringify(contents));
      chmodSync(sessions.path, 0o600);
    };
    const bad = [null, {}, { ...good, url: 'https://bad:1', token: 5 }];
    write({ current: good.url, sessions: [...bad, good] });
    expect(sessions.current()).to.deep.equal(good);
    expect(sessions.find('https://bad:1')).to.equal(undefined);
    write({ current: 'https://bad:1', sessions: [...bad, good] });
    const lost = await errorOf(() => attempt(() => sessions.current()));
    expect(lost.message).to.match(/no readable session at https:\/\/bad:1; log in again: nexus login https:\/\/bad:1/);
    for (const text of ['{', '[]', '"'.padEnd(2_000_000, 'x')]) {
      write(text);
      expect(await codeOf(() => attempt(() => sessions.current()))).to.equal('failed_precondition');
    }
  });

  it('among mails keeps none from being sent', async () => {
    const outbox = await OutboxMailer.open(folder, 'nexus@localhost', systemClock);
    // Older than all, and nothing that a file's removal removes.
    for (let index = 0; index < 1001; index += 1) mkdirSync(join(folder, `0-${index}.eml`));
    await outbox.send({ to: 'ann@example.org', subject: 's', text: 't' });
    expect(readdirSync(folder).filter((name) => !name.startsWith('0-'))).to.have.length(1);
  });

  it('of a process, half written by a controller that was killed, is none', () => {
    const own = identify(process.pid);
    const whole = JSON.stringify({ ...own, args: ['sleep', '9'] });
    expect(identityIn(whole)).to.include(own);
    for (let length = 0; length < whole.length; length += 1)
      expect(identityIn(whole.slice(0, length)), whole.slice(0, length)).to.equal(undefined);
    for (const text of ['null', '[]', '{"pid":"1","startTicks":"1"}', '{"pid":1}'])
      expect(identityIn(text), text).to.equal(undefined);
  });

  it('of choices is none', () => {
    for (const text of ['{', 'null', '{"runtime":7}', 'x'.repeat(100_000)]) {
      writeFileSync(join(folder, 'choices.json'), text);
      expect(rememberedRuntime(folder)).to.equal(undefined);
    }
  });

  it('of the bus’s keys says which file, and what to do, and nothing of its content', async () => {
    for (const text of ['{"operator":"SECRET', '{"operator":"SECRET"}', 'null']) {
      writeFileSync(join(folder, 'nats.keys'), text);
      const error = await errorOf(() => loadAccounts(folder));
      expect(error).to.include({ code: 'data_loss' });
      expect(error.message).to.match(/nats\.keys is damaged; restore it/);
      expect(JSON.stringify([error.message, error.stack])).not.to.include('SECRET');
    }
  });

  it('that an agent answers fails one copy, and says nothing else', async () => {
    const whole = { size: 1, md5: 'm', receipts: ['r'], failed_nodes: ['n'] };
    expect(storedReplyIn(JSON.stringify(whole))).to.deep.equal(whole);
    const { failed_nodes: _none, ...bare } = whole;
    expect(storedReplyIn(JSON.stringify(bare)).failed_nodes).to.deep.equal([]);
    const wrong = [
      '{',
      'null',
      '7',
      '{}',
      { ...whole, receipts: 'r' },
      { ...whole, receipts: [1] },
      { ...whole, size: '1' },
    ];
    const many = { ...whole, failed_nodes: Array.from({ length: 10_000 }, () => 'n') };
    for (const value of [...wrong, many]) {
      const text = typeof value === 'string' ? value : JSON.stringify(value);
      expect(await codeOf(() => attempt(() => storedReplyIn(text))), text.slice(0, 60)).to.equal('unavailable');
    }
    expect(refusalIn('{"code":"not_found","error":"no\\u001b[2J such"}')).to.include({
      code: 'not_found',
      message: 'no?[2J such',
    });
    for (const text of ['{', 'null', '{"code":"nonsense","error":"x"}', '{"code":"not_found","error":{}}'])
      expect(refusalIn(text), text).to.equal(undefined);
  });
});

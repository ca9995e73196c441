import { expect } from 'chai';
import { execFileSync, spawn, type ChildProcess } from 'node:child_process';
import {
  closeSync,
  constants,
  existsSync,
  mkdtempSync,
  openSync,
  readdirSync,
  readFileSync,
  readSync,
  rmSync,
  statSync,
} from 'node:fs';
import { open } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { beginLogAnew } from '../../shared/log-files.js';
import { createLogger } from '../../shared/log.js';
import { dropNotice, LogSink } from '../../shared/log-sink.js';

const NOTICE = dropNotice('test');
const wait = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms));
const until = async (what: string, holds: () => boolean): Promise<void> => {
  for (let tries = 0; !holds(); tries += 1) {
    if (tries > 6000) throw new Error(`not within a minute: ${what}`);
    await wait(10);
  }
};

const lastOf = (path: string): string => (existsSync(path) ? readFileSync(path, 'utf8').slice(-100) : '');

function readAll(descriptor: number): string {
  const buffer = Buffer.alloc(64 * 1024);
  let text = '';
  try {
    for (;;) text += buffer.toString('utf8', 0, readSync(descriptor, buffer));
  } catch {
    // It is empty.
    return text;
  }
}

describe('a log sink', () => {
  let folder: string;
  const descriptors: number[] = [];
  const children: ChildProcess[] = [];
  const descriptorOf = (path: string, flags: number): number => {
    const descriptor = openSync(path, flags, 0o600);
    descriptors.push(descriptor);
    return descriptor;
  };
  beforeEach(() => {
    folder = mkdtempSync(join(tmpdir(), 'nexus-sink-'));
  });
  afterEach(() => {
    for (const child of children.splice(0)) child.kill('SIGKILL');
    for (const descriptor of descriptors.splice(0)) closeSync(descriptor);
    rmSync(folder, { recursive: true });
  });

  it('writes lines in order to a file, through the logger, too', async () => {
    const path = join(folder, 'log');
    const sink = new LogSink({
      notice: NOTICE,
      descriptor: descriptorOf(path, constants.O_CREAT | constants.O_APPEND | constants.O_WRONLY),
    });
    const log = createLogger('test', 'info', sink);
    for (let at = 0; at < 1000; at += 1) log.info({ at }, 'line');
    const lines = (): string[] => readFileSync(path, 'utf8').split('\n').slice(0, -1);
    await until('all lines', () => lines().length === 1000);
    expect(lines().map((line) => (JSON.parse(line) as { at: number }).at)).to.deep.equal([...Array(1000).keys()]);
    expect(sink).to.include({ dropped: 0, problem: '' });
  });

  it('drops and counts what a full disk does not take, without a word to whoever logs', async () => {
    const sink = new LogSink({ notice: NOTICE, descriptor: descriptorOf('/dev/full', constants.O_WRONLY) });
    for (let at = 0; at < 100; at += 1) sink.write(`line ${at}\n`);
    await until('a hundred lines are counted', () => sink.dropped === 100);
    expect(sink.problem).to.equal('ENOSPC');
    sink.write('one more\n');
    sink.finish();
  });

  it('says how many lines are missing, and of no half line makes one with the next', async () => {
    const path = join(folder, 'log');
    // A file that may not grow beyond 4 KiB is what a disk is that fills up: the last line is cut. Then it has room again.
    const program = `
      import { LogSink, dropNotice } from ${JSON.stringify(join(import.meta.dirname, '../../shared/log-sink.ts'))};
      import { execFileSync } from 'node:child_process';
      process.on('SIGXFSZ', () => undefined);
      const sink = new LogSink({ notice: dropNotice('test') });
      process.on('exit', () => sink.finish());
      for (let at = 0; at < 100; at += 1) sink.write(JSON.stringify({ at, text: 'x'.repeat(80) }) + '\\n');
      const wait = setInterval(() => {
        if (sink.dropped === 0) return;
        clearInterval(wait);
        const dropped = sink.dropped;
        execFileSync('prlimit', ['--fsize=unlimited', '--pid', String(process.pid)]);
        // Known without a further line.
        const heal = setInterval(() => {
          if (sink.problem !== '') return;
          clearInterval(heal);
          sink.write(JSON.stringify({ last: dropped }) + '\\n');
        }, 10);
      }, 10);
    `;
    const file = await open(path, 'a');
    const child = spawn(
      'prlimit',
      ['--fsize=4096:unlimited', process.execPath, '--import=tsx', '--input-type=module', '-e', program],
      {
        stdio: ['ignore', file.fd, 'inherit'],
      },
    );
    children.push(child);
    const code = await new Promise((resolve) => child.once('exit', resolve));
    await file.close();
    expect(code).to.equal(0);
    const lines = readFileSync(path, 'utf8').trim().split('\n');
    const { last } = JSON.parse(lines.at(-1) ?? '') as { last: number };
    const notice = JSON.parse(lines.at(-2) ?? '') as { dropped: number; why: string; level: number };
    expect(notice).to.include({ dropped: last, why: 'EFBIG', level: 40 });
    const whole = lines.slice(0, -3).map((line) => (JSON.parse(line) as { at: number }).at);
    // The one before the notice was cut off.
    expect(whole.length + last).to.equal(100);
  });

  it('neither waits for a reader that does not read nor keeps more than it may', async () => {
    const pipe = join(folder, 'pipe');
    execFileSync('mkfifo', [pipe]);
    const reader = descriptorOf(pipe, constants.O_RDWR | constants.O_NONBLOCK);
    const sink = new LogSink({ notice: NOTICE, descriptor: openSync(pipe, constants.O_WRONLY) });
    const line = `${'x'.repeat(1023)}\n`;
    for (let at = 0; at < 4096; at += 1) sink.write(line);
    expect(sink.dropped).to.be.greaterThan(3000).and.lessThan(4096);
    expect(sink.problem).to.include('is too slow');
    // Once it is read, the log goes on, and says so.
    let read = '';
    const drain = async (): Promise<void> => {
      for (let more = readAll(reader); more !== ''; more = readAll(reader)) {
        read += more;
        await wait(20);
      }
    };
    await drain();
    sink.write('the last\n');
    await until('the last line', () => (read += readAll(reader)).endsWith('the last\n'));
    expect(read).to.match(/"dropped":\d+/);
    for (let at = 0; at < 1024; at += 1) sink.write(line);
    const startedAt = performance.now();
    sink.finish();
    expect(performance.now() - startedAt, 'the end of the process waits').to.be.lessThan(5000);
    await drain();
  });

  it('goes on when its reader has gone', async () => {
    const pipe = join(folder, 'pipe');
    execFileSync('mkfifo', [pipe]);
    const reader = openSync(pipe, constants.O_RDWR | constants.O_NONBLOCK);
    const sink = new LogSink({ notice: NOTICE, descriptor: openSync(pipe, constants.O_WRONLY) });
    sink.write('heard\n');
    closeSync(reader);
    sink.write('unheard\n');
    await until('the line is counted', () => sink.dropped === 1);
    expect(sink.problem).to.equal('EPIPE');
  });

  it('has all lines on their way, in order, before the last words of an orderly end', async () => {
    const path = join(folder, 'ending');
    const sink = new LogSink({
      notice: NOTICE,
      descriptor: descriptorOf(path, constants.O_CREAT | constants.O_WRONLY),
    });
    for (let at = 0; at < 1000; at += 1) sink.write(`${at}\n`);
    await sink.settled();
    sink.write('last\n');
    await sink.settled();
    sink.finish();
    const lines = readFileSync(path, 'utf8').split('\n').slice(0, -1);
    expect(lines).to.deep.equal([...Array.from({ length: 1000 }, (_, at) => String(at)), 'last']);
  });

  it('keeps a file of its own within a bound while it is written', async () => {
    const path = join(folder, 'log');
    const descriptor = descriptorOf(path, constants.O_CREAT | constants.O_APPEND | constants.O_WRONLY);
    let copying = 0;
    const beginAnew = async (): Promise<void> => {
      copying += 1;
      await beginLogAnew(path, 3);
      copying -= 1;
    };
    const bound = { maxBytes: 100_000, beginAnew };
    const sink = new LogSink({ notice: NOTICE, descriptor, bound });
    for (let at = 0; at < 10_000; at += 1) {
      sink.write(`${String(at).padStart(99)}\n`);
      const isWritten = (): boolean => ['log', 'log.1'].some((name) => lastOf(join(folder, name)).endsWith(` ${at}\n`));
      if (at % 500 === 499) await until(`line ${at}`, isWritten);
    }
    // The last line may be there while a full log is still being copied aside.
    await until('the end of the last copy', () => copying === 0);
    expect(sink.dropped).to.equal(0);
    const names = readdirSync(folder).sort();
    expect(names).to.deep.equal(['log', 'log.1', 'log.2']);
    for (const name of names) expect(statSync(join(folder, name)).size).to.be.lessThan(200_000);
    const kept = ['log.2', 'log.1', 'log'].flatMap((name) =>
      readFileSync(join(folder, name), 'utf8').split('\n').slice(0, -1).map(Number),
    );
    expect(kept).to.deep.equal([...kept.keys()].map((at) => at + 10_000 - kept.length));
  });
});

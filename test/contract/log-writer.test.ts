/** The program that owns a log file, and the processes of it. Compiled by the build. */
import { expect } from 'chai';
import { spawn, type ChildProcess } from 'node:child_process';
import { linkSync, mkdtempSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { WriterProcesses, type WriterOptions } from '../../controller/log/writer-process.js';
import type { LogPlace } from '../../controller/log/port.js';
import { identify, isAlive } from '../../controller/host/process-identity.js';
import { KIB } from '../../shared/limits.js';
import { eventually, PROJECT } from '../support/cluster.js';
import { SmallDisk } from '../support/small-disk.js';
import { skipWithoutSystem } from '../support/system.js';

const PROGRAM = join(PROJECT, 'dist', 'log-writer');

describe('a log writer', function () {
  this.timeout(180_000);
  let folder: string;
  let place: LogPlace;
  const children: ChildProcess[] = [];

  beforeEach(() => {
    folder = mkdtempSync(join(tmpdir(), 'nexus-log-'));
    place = { path: join(folder, 'a.log'), record: join(folder, 'record.json') };
  });
  afterEach(async () => {
    for (const child of children.splice(0)) child.kill('SIGKILL');
    await (await open()).settle(place, true);
    rmSync(folder, { recursive: true });
  });

  const open = (options: Partial<WriterOptions> = {}): Promise<WriterProcesses> =>
    WriterProcesses.open({ program: PROGRAM, user: undefined, maxBytes: 64 * KIB, files: 3, ...options });
  const log = (): string => readFileSync(place.path, 'utf8');

  /** Resolves when `script` has ended; what it says is in the log then. */
  async function say(script: string, options: Partial<WriterOptions> = {}, first = ''): Promise<void> {
    const writers = await open(options);
    const input = await writers.open(place, first);
    const child = spawn('/bin/sh', ['-c', script], { stdio: ['ignore', input.output, input.output] });
    children.push(child);
    input.close();
    await new Promise((resolve) => child.once('exit', resolve));
    await writers.settle(place);
  }

  it('has all that was said once it is settled, with the last line whole, and ends', async () => {
    await say('echo out; echo err >&2; printf end', {}, 'first\n');
    await say('echo again', {}, 'second\n');
    expect(log()).to.equal('first\nout\nerr\nend\nsecond\nagain\n');
    expect(isAlive(JSON.parse(readFileSync(place.record, 'utf8')) as never)).to.equal(false);
  });

  it('goes on when the one who started it is gone, and shows a line that has no end yet', async () => {
    const input = await (await open()).open(place, '');
    const child = spawn('/bin/sh', ['-c', 'printf half; read -r go'], { stdio: ['pipe', input.output, input.output] });
    children.push(child);
    input.close();
    await eventually(log, (text) => text === 'half');
    child.stdin?.end('\n');
    await (await open()).settle(place);
    expect(log()).to.equal('half\n');
  });

  it('keeps the log and those before it within their bounds, in place, and every file begins with a line', async () => {
    const bounds = { maxBytes: 16 * KIB, bytesPerSecond: 1024 * KIB };
    await say('i=0; while [ $i -lt 4000 ]; do echo "line $i"; i=$((i+1)); done', bounds);
    const files = ['a.log', 'a.log.1', 'a.log.2'];
    expect(readdirSync(folder).sort()).to.deep.equal([...files, 'record.json']);
    for (const name of files) expect(statSync(join(folder, name)).size).to.be.within(1, 16 * KIB + 64 * KIB);
    const lines = [...files]
      .reverse()
      .flatMap((name) => readFileSync(join(folder, name), 'utf8').split('\n'))
      .filter((line) => line !== '')
      .map((line) => Number(/^line (\d+)$/.exec(line)?.[1]));
    expect(lines).to.deep.equal(Array.from({ length: lines.length }, (_, at) => 4000 - lines.length + at));
  });

  it('drops what exceeds the rate, says how much, and has the last line all the same', async () => {
    const bounds = { maxBytes: 256 * KIB, bytesPerSecond: 64, burstBytes: 64 * KIB };
    await say('i=0; while [ $i -lt 20000 ]; do echo "line $i"; i=$((i+1)); done; echo the last', bounds);
    const said = log().trimEnd().split('\n');
    const notices = said.filter((line) => line.startsWith('{')).map((line) => JSON.parse(line) as { dropped: number });
    const dropped = notices.reduce((sum, notice) => sum + notice.dropped, 0);
    expect(said.at(-1)).to.equal('the last');
    expect(said.length - notices.length + dropped).to.equal(20_001);
    expect(dropped).to.be.greaterThan(5000);
    expect(said.find((line) => line.startsWith('{'))).to.match(/"name":"log-writer".*log line\(s\) were dropped/);
  });

  it('ends by no signal that asks for it, and is ended where a log must be free for the next', async () => {
    const writers = await open();
    const input = await writers.open(place, 'one\n');
    const identity = identify((JSON.parse(readFileSync(place.record, 'utf8')) as { pid: number }).pid);
    if (identity === undefined) throw new Error('no writer');
    for (const signal of ['SIGTERM', 'SIGINT', 'SIGHUP'] as const) process.kill(identity.pid, signal);
    await eventually(log, (text) => text === 'one\n');
    expect(isAlive(identity)).to.equal(true);
    const next = await writers.open(place, 'two\n');
    expect(isAlive(identity)).to.equal(false);
    next.close();
    input.close();
    await writers.settle(place);
    expect(log()).to.equal('one\ntwo\n');
  });

  it('whose record was broken off, or holds no process, is none: the next takes its place', async () => {
    for (const record of ['{"pid":12', 'null', '[]', '{"pid":"1","startTicks":5}']) {
      writeFileSync(place.record, record);
      await (await open()).settle(place, true);
      await say('echo on');
    }
    expect(log()).to.equal('on\n'.repeat(4));
  });

  it('writes to nothing but a file of its own', async () => {
    writeFileSync(join(folder, 'other'), 'secret\n');
    linkSync(join(folder, 'other'), place.path);
    const failure = await (await open()).open(place, '').catch((error: unknown) => error as Error);
    expect(failure).to.be.instanceOf(Error).and.have.property('message').that.includes('cannot be opened');
  });

  it('is missed at the start of a controller', async () => {
    const failure = await open({ program: join(folder, 'none') }).catch((error: unknown) => error as Error);
    expect(failure).to.have.property('message').that.includes('run deploy/bootstrap.sh');
  });

  it('gives its privileges up, and loses lines on a full disk but never itself', async function () {
    skipWithoutSystem(this);
    const disk = new SmallDisk(join(folder, 'disk'), 1);
    const onDisk = { path: join(disk.path, 'a.log'), record: place.record };
    try {
      const writers = await open({ user: { uid: 12_345, gid: 12_345 }, maxBytes: 16 * KIB });
      const input = await writers.open(onDisk, 'first\n');
      const { pid } = JSON.parse(readFileSync(place.record, 'utf8')) as { pid: number };
      const status = readFileSync(`/proc/${pid}/status`, 'utf8');
      expect(status).to.match(/^Uid:\t12345\t12345\t12345\t12345$/m);
      expect(status).to.match(/^Groups:\t $/m);
      expect(status)
        .to.match(/^CapPrm:\t0+$/m)
        .and.match(/^NoNewPrivs:\t1$/m);
      await eventually(
        () => readFileSync(onDisk.path, 'utf8'),
        (text) => text === 'first\n',
      );
      disk.fill();
      const script =
        'read -r go; i=0; while [ $i -lt 2000 ]; do echo "line $i"; i=$((i+1)); done; read -r go; echo last';
      const child = spawn('/bin/sh', ['-c', script], { stdio: ['pipe', input.output, input.output] });
      children.push(child);
      input.close();
      child.stdin?.write('\n');
      // A page of the file is its own already: what fits in there is written.
      await eventually(
        () => readFileSync(`/proc/${pid}/io`, 'utf8'),
        (io) => Number(/^rchar: (\d+)/m.exec(io)?.[1]) > 18_000,
      );
      expect(isAlive(JSON.parse(readFileSync(place.record, 'utf8')) as never)).to.equal(true);
      disk.free();
      child.stdin?.end('\n');
      await new Promise((resolve) => child.once('exit', resolve));
      await writers.settle(onDisk);
      const text = readFileSync(onDisk.path, 'utf8');
      expect(text)
        .to.match(/log line\(s\) were dropped: No space left on device/)
        .and.match(/\nlast\n$/);
    } finally {
      await (await open()).settle(onDisk, true);
      disk.remove();
    }
  });
});

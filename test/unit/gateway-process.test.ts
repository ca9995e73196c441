/** The controller's gateway: a program that behaves as badly as one can, looked after on a clock that a test moves. */
import { execFileSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { once } from 'node:events';
import { createServer, type AddressInfo, type Server } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Writable } from 'node:stream';
import { expect } from 'chai';
import { pino } from 'pino';
import { GatewayProcess } from '../../controller/gateway/process.js';
import { identify } from '../../controller/host/process-identity.js';
import { systemClock, type Clock } from '../../shared/async/clock.js';
import { loadSettings } from '../../shared/config/settings.js';
import { eventually } from '../support/cluster.js';

const LISTENS = `
  const port = Number(process.argv[process.argv.indexOf('--gateway-port') + 1]);
  require('node:http').createServer((request, response) => response.end(request.url)).listen(port, '127.0.0.1');`;
/** Tells the test which ones were started. */
const COUNTS = (folder: string): string =>
  `require('node:fs').appendFileSync(${JSON.stringify(join(folder, 'started'))}, process.pid + '\\n');`;

class Bench implements AsyncDisposable {
  readonly folder = mkdtempSync(join(tmpdir(), 'nexus-gateway-'));
  nowMs = 1_000_000;
  readonly lines: Record<string, unknown>[] = [];
  readonly gateway: GatewayProcess;
  #ends = 0;
  readonly #program = join(this.folder, 'program.cjs');
  readonly #log = pino(
    { level: 'info' },
    new Writable({
      write: (line: Buffer, _encoding, done) => {
        this.lines.push(JSON.parse(line.toString('utf8')) as Record<string, unknown>);
        done();
      },
    }),
  );
  /** A wait is over at once, and takes its time on this clock. */
  readonly #clock: Clock = {
    ...systemClock,
    monotonic: () => this.nowMs,
    sleep: async (ms) => {
      this.nowMs += ms * 100;
      await systemClock.sleep(ms);
    },
  };

  constructor(
    program: string,
    readonly port: number,
  ) {
    this.write(program);
    this.gateway = this.another();
  }

  write(program: string): void {
    writeFileSync(this.#program, `${COUNTS(this.folder)}\n${program}`);
  }

  /** As the next controller has it. */
  another(flags: Readonly<Record<string, string>> = {}): GatewayProcess {
    const given = { runDir: this.folder, gateway: 'on', gatewayHost: '127.0.0.1', gatewayPort: String(this.port) };
    const settings = loadSettings({ env: {}, flags: { ...given, gatewayDrainMs: '1000', ...flags }, uid: 0 });
    return new GatewayProcess({ program: this.#program, settings, clock: this.#clock, log: this.#log }, () => {
      this.#ends += 1;
    });
  }

  get started(): number[] {
    const text = (() => {
      try {
        return readFileSync(join(this.folder, 'started'), 'utf8');
      } catch {
        return '';
      }
    })();
    return text.split('\n').filter(Boolean).map(Number);
  }

  /** Until one more has ended than before. */
  async end(count: number): Promise<void> {
    await eventually(
      () => this.#ends,
      (ends) => ends >= count,
    );
  }

  /** Ticks until it is so. */
  async until(check: () => boolean, gateway = this.gateway): Promise<void> {
    await eventually(
      () => gateway.tick(),
      () => check(),
    );
  }

  /**
   * The same while a second passes with each tick. Needed after a kill: threads of a killed process may hold its port
   * for a moment after it is gone, the first attempt finds the port taken, and the next is due only after a back-off.
   */
  async untilLater(check: () => boolean, gateway: GatewayProcess): Promise<void> {
    await this.until(() => {
      this.nowMs += 1000;
      return check();
    }, gateway);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.gateway.close();
    rmSync(this.folder, { recursive: true });
  }
}

const listening = async (): Promise<Server> => {
  const server = createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  return server;
};
const portOf = (server: Server): number => (server.address() as AddressInfo).port;
async function freePort(): Promise<number> {
  const server = await listening();
  const port = portOf(server);
  server.close();
  await once(server, 'close');
  return port;
}

describe('the process of the gateway', () => {
  it('that ends at once is started again, later and later, and why it ended is told', async () => {
    await using bench = new Bench(`console.error('no such file'); process.exit(3);`, await freePort());
    const waits: number[] = [];
    for (let count = 1; count <= 10; count += 1) {
      await bench.gateway.tick();
      await bench.end(count);
      await bench.gateway.tick();
      expect(bench.started, 'once').to.have.length(count);
      expect(bench.gateway.status).to.include({ pid: 0, ready: false });
      expect(bench.gateway.status.problem).to.match(/^it ended \(exit code 3\); see \/.*\/gateway\.log$/);
      const told = bench.lines.findLast(({ level }) => level === 40);
      expect(told).to.deep.include({ exit: 'exit code 3', lastLines: ['no such file'] });
      const wait = Number(/again in (\d+) ms$/.exec(String(told?.['msg']))?.[1]);
      waits.push(wait);
      bench.nowMs += wait - 1;
      await bench.gateway.tick();
      expect(bench.started, 'not before its time').to.have.length(count);
      bench.nowMs += 1;
    }
    expect(waits).to.deep.equal([200, 400, 800, 1600, 3200, 6400, 12_800, 25_600, 30_000, 30_000]);
  });

  it('that was well for a while is started again at once when it dies; how it died is told', async () => {
    await using bench = new Bench(LISTENS, await freePort());
    for (const wellForMs of [0, 0, 61_000]) {
      await bench.until(() => bench.gateway.status.ready);
      bench.nowMs += wellForMs;
      process.kill(bench.gateway.status.pid, 'SIGKILL');
      await bench.until(() => !bench.gateway.status.ready);
      expect(bench.gateway.status.problem).to.include('it ended (signal SIGKILL)');
      bench.nowMs += 30_000;
    }
    const waits = bench.lines.map(({ msg }) => /again in (\d+) ms$/.exec(String(msg))?.[1]).filter(Boolean);
    expect(waits).to.deep.equal(['200', '400', '200']);
    await bench.until(() => bench.gateway.status.ready);
    expect(bench.gateway.status.problem).to.equal('');
  });

  it('that says why it cannot go on is believed', async () => {
    const fatal = JSON.stringify({ level: 60, code: 'failed_precondition', msg: 'cannot read "the key"' });
    await using bench = new Bench(`console.log(${JSON.stringify(fatal)}); process.exit(1);`, await freePort());
    await bench.until(() => bench.gateway.status.problem !== '');
    expect(bench.gateway.status.problem).to.equal('cannot read "the key"');
  });

  it('is not started while its port is somebody else’s, which is told, and is when it is free', async () => {
    const other = await listening();
    await using bench = new Bench(LISTENS, portOf(other));
    await bench.gateway.tick();
    expect(bench.gateway.status.problem).to.equal(
      `something else listens on 127.0.0.1:${bench.port}; end that, or set gateway-port to a free port`,
    );
    expect(bench.started).to.deep.equal([]);
    other.close();
    await once(other, 'close');
    bench.nowMs += 30_000;
    await bench.until(() => bench.gateway.status.ready);
    expect(bench.gateway.status.problem).to.equal('');
  });

  it('that runs and never listens is told', async () => {
    await using bench = new Bench('setInterval(() => undefined, 1000);', await freePort());
    await bench.gateway.tick();
    await bench.gateway.tick();
    expect(bench.gateway.status.problem).to.equal('');
    bench.nowMs += 20_000;
    await bench.gateway.tick();
    expect(bench.gateway.status.problem).to.match(/^process \d+ does not answer; see /);
  });

  it('that hangs is told, and that it answers again', async () => {
    await using bench = new Bench(LISTENS, await freePort());
    await bench.until(() => bench.gateway.status.ready);
    const { pid } = bench.gateway.status;
    process.kill(pid, 'SIGSTOP');
    for (const isReady of [true, false]) {
      bench.nowMs += 5000;
      await bench.gateway.tick();
      expect(bench.gateway.status.ready, 'one busy moment is nothing').to.equal(isReady);
    }
    expect(bench.gateway.status.problem).to.match(/^process \d+ does not answer; see /);
    process.kill(pid, 'SIGCONT');
    await bench.until(() => bench.gateway.status.ready);
    expect(bench.gateway.status).to.include({ pid, problem: '' });
    expect(bench.started).to.deep.equal([pid]);
  });

  it('that hangs is started again by what its warning advises', async () => {
    await using bench = new Bench(LISTENS, await freePort());
    await bench.until(() => bench.gateway.status.ready);
    const { pid } = bench.gateway.status;
    process.kill(pid, 'SIGSTOP');
    for (let time = 0; time < 2; time += 1) {
      bench.nowMs += 5000;
      await bench.gateway.tick();
    }
    const command = /, or end it with (kill -9 \d+): it is started again$/.exec(bench.gateway.status.problem)?.[1];
    expect(command).to.equal(`kill -9 ${pid}`);
    execFileSync('sh', ['-c', command ?? 'false']);
    await bench.until(() => !bench.gateway.status.problem.includes('does not answer'));
    bench.nowMs += 30_000;
    await bench.until(() => bench.gateway.status.ready && bench.gateway.status.pid !== pid);
    expect(bench.gateway.status.problem).to.equal('');
  });

  it('that ignores SIGTERM is killed when its time is over, and nothing of it is left', async () => {
    await using bench = new Bench(`process.on('SIGTERM', () => console.log('no'));${LISTENS}`, await freePort());
    await bench.until(() => bench.gateway.status.ready);
    const { pid } = bench.gateway.status;
    const before = bench.nowMs;
    await bench.gateway.close();
    expect(bench.nowMs - before).to.be.at.least(6000);
    expect(identify(pid)).to.equal(undefined);
    await bench.gateway.close();
    await bench.gateway.tick();
    expect(bench.started).to.deep.equal([pid]);
  });

  it('whose record was half written when its controller was killed is in the way of the next, until it ends', async () => {
    await using bench = new Bench(LISTENS, await freePort());
    await bench.until(() => bench.gateway.status.ready);
    const { pid } = bench.gateway.status;
    const file = join(bench.folder, 'gateway.d', 'gateway.json');
    const whole = readFileSync(file, 'utf8');
    // Killed while it replaced an older one: that one counts.
    writeFileSync(`${file}.0badc0de.tmp`, whole.slice(0, 20));
    const adopting = bench.another();
    await bench.until(() => adopting.status.ready, adopting);
    expect(adopting.status.pid).to.equal(pid);
    for (const text of ['', '{', 'null', '{}', whole.slice(0, -1)]) {
      writeFileSync(file, text);
      const next = bench.another();
      await next.tick();
      expect(next.status.problem, text).to.match(/^something else listens on .*; end that, or set gateway-port /);
    }
    process.kill(pid, 'SIGKILL');
    await eventually(
      () => identify(pid),
      (left) => left === undefined,
    );
    const last = bench.another();
    await bench.untilLater(() => last.status.ready && last.status.pid !== pid, last);
    expect(bench.started).to.deep.equal([pid, last.status.pid]);
    await last.close();
  });

  it('outlives its controller, is adopted by the next one, and replaced by one with other settings', async () => {
    await using bench = new Bench(LISTENS, await freePort());
    await bench.until(() => bench.gateway.status.ready);
    const { pid } = bench.gateway.status;
    const next = bench.another();
    await bench.until(() => next.status.ready, next);
    expect(next.status.pid).to.equal(pid);
    process.kill(pid, 'SIGKILL');
    await bench.until(() => next.status.problem !== '', next);
    expect(next.status.problem).to.include('an earlier controller had started it');
    await bench.untilLater(() => next.status.ready, next);
    const changed = bench.another({ gatewayDrainMs: '2000' });
    await bench.untilLater(() => changed.status.ready, changed);
    expect(changed.status.pid).not.to.be.oneOf([pid, next.status.pid]);
    await changed.close();
  });
});

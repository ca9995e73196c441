/** An agent tries its volume: what each finding is called, and that no disk can keep it waiting. */
import { expect } from 'chai';
import { createAgentLog } from '../../agent/log.js';
import { toAgentError } from '../../agent/volume/errors.js';
import { FakeVolume } from '../fakes/agent-volume.js';
import { VolumeHealth } from '../../agent/volume/health.js';
import { examine, flagsOf, type Prober } from '../../agent/volume/probe.js';
import { systemClock } from '../../shared/async/clock.js';
import { NexusError, toNexusError } from '../../shared/errors.js';
import { eventually } from '../support/cluster.js';

const errno = (code: string): Error => Object.assign(new Error(`${code}: as the kernel says`), { code });

class FakeProber implements Prober {
  flag: 'read-only' | 'shut down' | undefined;
  writes = 0;
  onWrite: () => Promise<void> = () => Promise.resolve();
  onRead: () => Promise<void> = () => Promise.resolve();
  flags(): 'read-only' | 'shut down' | undefined {
    return this.flag;
  }
  write(): Promise<void> {
    this.writes += 1;
    return this.onWrite();
  }
  read(): Promise<void> {
    return this.onRead();
  }
}

describe('the health of a volume', () => {
  let prober: FakeProber;
  let volume: FakeVolume;
  let nowMs: number;
  let lines: string[];
  let changes: number;
  let health: VolumeHealth;

  beforeEach(() => {
    prober = new FakeProber();
    volume = new FakeVolume('/data', 64 * 1024 * 1024);
    nowMs = 0;
    lines = [];
    changes = 0;
    health = new VolumeHealth({
      volume,
      prober,
      clock: { ...systemClock, monotonic: () => nowMs },
      log: createAgentLog({}, 'info', (line) => lines.push(line)),
      onChange: () => (changes += 1),
    });
  });

  const stateAfter = async (state: string): Promise<string> => {
    // One that comes while the last look goes on is not counted.
    await eventually(
      () => {
        health.tick();
        return health.condition.state;
      },
      (seen) => seen === state,
    );
    return health.condition.reason;
  };
  const found = async (): Promise<string | undefined> => (await examine(prober, () => volume.usage(), true))?.state;

  for (const [what, arrange, state] of [
    ['all is well', () => undefined, 'ok'],
    ['it was mounted read-only', () => (prober.flag = 'read-only'), 'read-only'],
    ['writing says EROFS', () => (prober.onWrite = () => Promise.reject(errno('EROFS'))), 'read-only'],
    ['writing alone says EIO', () => (prober.onWrite = () => Promise.reject(errno('EIO'))), 'read-only'],
    ['writing says ENOSPC', () => (prober.onWrite = () => Promise.reject(errno('ENOSPC'))), 'full'],
    ['no inode is left', () => (volume.freeInodes = 3), 'full'],
    ['no byte is left', () => (volume.usedBytes = 64 * 1024 * 1024), 'full'],
    ['the agent has no descriptor left', () => (prober.onWrite = () => Promise.reject(errno('EMFILE'))), undefined],
  ] as const) {
    it(`is ${state ?? 'not judged'} when ${what}`, async () => {
      arrange();
      expect(await found()).to.equal(state);
    });
  }

  it('is failing when it was shut down and can’t be read either', async () => {
    prober.flag = 'shut down';
    expect(await found()).to.equal('read-only');
    prober.onRead = () => Promise.reject(errno('EIO'));
    expect(await found()).to.equal('failing');
  });

  it('is told and logged once for each change, however often it is looked at', async () => {
    prober.onWrite = () => Promise.reject(errno('EROFS'));
    expect(await stateAfter('read-only')).to.equal('writing fails: EROFS');
    for (let look = 0; look < 20; look += 1) {
      await eventually(
        () => {
          health.tick();
          return prober.writes;
        },
        (writes) => writes >= look + 2,
      );
    }
    expect(lines).to.have.length(1);
    prober.onWrite = () => Promise.resolve();
    await stateAfter('ok');
    expect(lines).to.have.length(2);
    expect(changes).to.equal(2);
  });

  it('hangs when it has not answered for long; its figures are the last known ones', async () => {
    await stateAfter('ok');
    expect((await health.usage()).totalBytes).to.equal(64 * 1024 * 1024);
    nowMs = 20_000;
    let answer = (): void => undefined;
    prober.onWrite = () => new Promise((resolve) => (answer = resolve));
    health.tick();
    await eventually(
      () => prober.writes,
      (writes) => writes === 2,
    );
    nowMs = 30_000;
    health.tick();
    expect(health.condition.state).to.equal('ok');
    nowMs = 36_000;
    health.tick();
    expect(health.condition.state).to.equal('hung');
    expect(prober.writes).to.equal(2);
    volume.script.failNext('volume.usage', 1, new NexusError('unavailable', 'EIO'));
    expect((await health.usage()).totalBytes).to.equal(64 * 1024 * 1024);
    answer();
    await stateAfter('ok');
  });

  it('is looked at at once when a call failed on it, and only then', async () => {
    await stateAfter('ok');
    prober.onWrite = () => Promise.reject(errno('EROFS'));
    nowMs = 1000;
    health.suspect(new NexusError('not_found', 'there is no such chunk'));
    expect(prober.writes).to.equal(1);
    health.suspect(new NexusError('internal', 'wrapped', {}, { cause: errno('EROFS') }));
    await eventually(
      () => health.condition.state,
      (state) => state === 'read-only',
    );
  });

  it('stays failing once the kernel has found its records wrong, whatever the probe finds', async () => {
    await stateAfter('ok');
    await eventually(
      () => prober.writes,
      (writes) => writes === 1,
    );
    // Node has no name for it.
    health.suspect(
      Object.assign(new Error('Unknown system error -74'), { errno: -74, code: 'Unknown system error -74' }),
    );
    expect(health.condition).to.deep.equal({ state: 'failing', reason: 'its file system is damaged (EBADMSG)' });
    await eventually(
      () => {
        health.tick();
        return prober.writes;
      },
      (writes) => writes >= 2,
    );
    await health.usage();
    expect(health.condition.state).to.equal('failing');
    expect(changes).to.equal(1);
  });

  it('is told from the mount that the path lies on', () => {
    const line = (point: string, options: string, superOptions: string): string =>
      `134 138 7:142 / ${point} ${options} - ext4 /dev/loop142 ${superOptions}`;
    const root = line('/', 'ro,relatime', 'ro');
    expect(flagsOf(`${root}\n${line('/data', 'rw,nosuid', 'rw')}\n`, '/data')).to.equal(undefined);
    expect(flagsOf(`${root}\n${line('/data', 'rw,nosuid', 'ro')}\n`, '/data')).to.equal('read-only');
    expect(flagsOf(`${root}\n${line('/data', 'rw', 'rw,emergency_ro')}\n`, '/data')).to.equal('read-only');
    expect(flagsOf(`${root}\n${line('/data', 'rw', 'rw,shutdown')}\n`, '/data')).to.equal('shut down');
    expect(flagsOf(`${root}\n${line('/data2', 'rw', 'rw')}\n`, '/data')).to.equal('read-only');
    expect(flagsOf(`${line('/', 'rw', 'rw')}\n${line('/var/lib', 'ro', 'rw')}\n`, '/var/lib/x')).to.equal('read-only');
    // Another one on top, and a folder of that name which is mounted elsewhere.
    const twice = `${line('/data', 'rw', 'rw')}\n${line('/data', 'ro', 'rw')}`;
    expect(flagsOf(`${twice}\n140 138 7:142 /data /mnt rw - ext4 /dev/loop1 rw\n`, '/data')).to.equal('read-only');
    expect(flagsOf(line('/data', 'ro', 'rw'), '/data')).to.equal('read-only');
    expect(flagsOf('', '/data')).to.equal(undefined);
  });
});

describe('errors of a volume', () => {
  for (const [code, expected, words] of [
    ['EROFS', 'unavailable', /read-only; restart the node.*\(EROFS\)$/],
    ['EIO', 'unavailable', /cannot be read or written.*\(EIO\)$/],
    ['ENOSPC', 'resource_exhausted', /full; remove files or add nodes \(ENOSPC\)$/],
    ['EDQUOT', 'resource_exhausted', /full.*\(EDQUOT\)$/],
    ['EBADMSG', 'unavailable', /damaged; restart the node.*\(EBADMSG\)$/],
    ['EUCLEAN', 'unavailable', /damaged; restart the node.*\(EUCLEAN\)$/],
    ['EMFILE', 'unavailable', /too many files open; try again \(EMFILE\)$/],
  ] as const) {
    it(`say what ${code} means and what to do`, () => {
      const error = toAgentError(errno(code));
      expect(error.code).to.equal(expected);
      expect(error.message).to.match(words);
      expect(toAgentError(new NexusError('internal', 'x', {}, { cause: errno(code) })).code).to.equal(expected);
    });
  }

  it('are not masked by what fails while cleaning up', async () => {
    const failsTwice = async (): Promise<void> => {
      await using _file = { [Symbol.asyncDispose]: () => Promise.reject(errno('EIO')) };
      await Promise.reject(errno('EROFS'));
    };
    const masked = await failsTwice().catch((error: unknown) => error);
    expect((masked as Error).name).to.equal('SuppressedError');
    expect(toAgentError(masked).message).to.match(/\(EROFS\)$/);
    expect(toNexusError(masked).message).to.match(/^EROFS/);
    expect(toNexusError(new AggregateError([errno('ECONNREFUSED')], '')).code).to.equal('unavailable');
  });
});

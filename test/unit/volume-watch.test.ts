/** Volumes under living agents fail: what planning makes of it, what is told, and what a restart mends. */
import { expect } from 'chai';
import { ended } from '../../controller/hosting/record.js';
import { NodeService } from '../../controller/node/service.js';
import { ClusterStorageNodes } from '../../controller/node/storage-nodes.js';
import { MEND_AFTER_MS, VolumeWatch } from '../../controller/node/watch/volume-watch.js';
import type { NodeRecord } from '../../controller/store/port/store.js';
import { systemClock } from '../../shared/async/clock.js';
import { AgentReport } from '../../shared/gen/nexus/v1/agent.js';
import { MIB } from '../../shared/limits.js';
import { codeOf } from '../support/codes.js';
import { NodeBench } from '../support/nodes.js';
import { nodeRecord } from '../support/records.js';

const never = new AbortController().signal;

describe('volumes under living agents', () => {
  let bench: NodeBench;
  let service: NodeService;
  let watch: VolumeWatch;
  let record: NodeRecord;
  let nowMs: number;

  beforeEach(async () => {
    const stored = nodeRecord('n', 0);
    const made: NodeRecord = {
      ...stored,
      hosting: ended(stored.hosting),
      status: 'Stopped',
      statusReason: '',
      desired: 'running',
      cordoned: false,
      draining: false,
      memoryMb: 64,
      storageBytes: 64 * MIB,
    };
    bench = await NodeBench.open([made]);
    await bench.leaveVolume(made);
    nowMs = 1000;
    service = new NodeService({ ...bench.context, clock: { ...systemClock, monotonic: () => nowMs } });
    record = await service.start('n', never);
    watch = new VolumeWatch(service);
    say('ok');
  });
  afterEach(async () => {
    await watch.settled();
    await bench.dispose();
  });

  const say = (volumeState: string, volumeReason = 'it says so'): void => {
    const report = AgentReport.fromPartial({ volumeState, volumeReason, volumeTotalBytes: 100n });
    bench.context.registry.reported(record.id, report);
  };
  const view = () => new ClusterStorageNodes(bench.context).find(record.id)!;
  const events = async (): Promise<string[]> =>
    (await bench.context.events.past(0)).map(({ type }) => type).filter((type) => /volume|mending/.test(type));
  const tick = async (afterMs: number): Promise<void> => {
    nowMs += afterMs;
    await watch.tick();
    await watch.settled();
  };
  const starts = (): number => bench.script.calls.filter((call) => call.startsWith('runtime.start')).length;

  it('one that is read-only is read from and not written to; a failing one is neither, and its copies are away', () => {
    expect(view()).to.include({ schedulable: true, readable: true, writable: true, standing: 'here' });
    say('full');
    expect(view()).to.include({ schedulable: true, readable: true, writable: true, standing: 'here' });
    say('read-only');
    expect(view()).to.include({ schedulable: false, readable: true, writable: false, standing: 'here' });
    expect(view().unfit).to.equal('its volume is read-only: it says so');
    for (const state of ['failing', 'hung', 'nobody knows this state']) {
      say(state);
      expect(view()).to.include({ schedulable: false, readable: false, writable: false, standing: 'away' });
    }
    say('');
    expect(view()).to.include({ schedulable: true, readable: true, writable: true, standing: 'here' });
  });

  it('is told once, mended by a restart after a moment, and told again when it is well', async () => {
    say('read-only', 'bad\nwords\u0000');
    await tick(0);
    await tick(100);
    expect(await events()).to.deep.equal(['node.volume_bad']);
    const [told] = (await bench.context.events.past(0)).filter(({ type }) => type === 'node.volume_bad');
    expect(told?.message).to.equal('the volume of node n is read-only: bad?words?');
    await tick(MEND_AFTER_MS[0]!);
    expect(await events()).to.deep.equal(['node.volume_bad', 'node.mending']);
    expect(bench.context.registry.get(record.id)?.status).to.equal('Running');
    expect(starts()).to.equal(2);
    say('ok', '');
    await tick(10_000);
    expect(await events()).to.deep.equal(['node.volume_bad', 'node.mending', 'node.volume_ok']);
  });

  it('is given up after a few attempts, each after a longer while; the node stays', async () => {
    for (const wait of MEND_AFTER_MS) {
      say('failing');
      await tick(0);
      const before = starts();
      await tick(wait - 1000);
      expect(starts()).to.equal(before);
      await tick(1000);
      expect(starts()).to.equal(before + 1);
    }
    say('failing');
    const before = starts();
    await tick(0);
    await tick(3_600_000);
    expect(starts()).to.equal(before);
    expect(bench.context.registry.get(record.id)?.status).to.equal('Running');
  });

  it('is mended each time that a full disk has made it fail, however often, and not as fast as the first time', async () => {
    const [, wait = 0] = MEND_AFTER_MS;
    for (let time = 0; time <= 2 * MEND_AFTER_MS.length; time += 1) {
      bench.volumes.free = 0;
      say('read-only');
      await tick(0);
      await tick(wait);
      expect(starts(), 'on the full disk').to.equal(time + 1);
      bench.volumes.free = 1;
      await tick(0);
      expect(starts(), 'with room again').to.equal(time + 2);
      say('read-only');
      await tick(0);
      await tick(wait - 1000);
      expect(starts(), 'soon after').to.equal(time + 2);
      say('ok');
      await tick(60_000);
    }
  });

  it('is left alone while the disk of the host has no room, and when it only hangs or is full', async () => {
    bench.volumes.free = 0;
    say('read-only');
    await tick(0);
    await tick(60_000);
    expect(starts()).to.equal(1);
    bench.volumes.free = 1;
    for (const state of ['hung', 'full']) {
      say(state);
      await tick(0);
      await tick(60_000);
    }
    expect(starts()).to.equal(1);
  });

  it('that hangs is not restarted by hand either, which would only take the node away', async () => {
    say('hung');
    expect(await codeOf(() => service.restart('n', never))).to.equal('failed_precondition');
    expect(bench.context.registry.get(record.id)?.status).to.equal('Running');
    say('failing');
    await service.restart('n', never);
    expect(starts()).to.equal(2);
  });
});

/**
 * Agents outlive upgrades of the controller: what version 0.1.0 sent, byte by byte, is understood for as long as its nodes
 * may run; what an older one leaves out, or a newer one adds, does no harm. The bytes here are never changed.
 */
import { expect } from 'chai';
import { MetricsHistory } from '../../controller/metrics/history.js';
import { AgentHeartbeat, AgentReport } from '../../shared/gen/nexus/v1/agent.js';
import type { NodeId } from '../../shared/ids.js';

const HEARTBEAT =
  '0a0c30313233343536373839616212046265656618fbc0c6e4a0342205302e312e302a2007070707070707070707070707070707070707070707070707070707070707073001';
const REPORT = '08fbc0c6e4a03410011802200328808080808080800230053806400748085009580a600b680c700d780e80010f';
/** Field 99, a string, which no version has had. */
const NEWS = '9a0603616263';

const bytes = (hex: string): Uint8Array => Buffer.from(hex, 'hex');

describe('messages of agents of other versions', () => {
  it('are understood as version 0.1.0 has sent them', () => {
    expect(AgentHeartbeat.decode(bytes(HEARTBEAT))).to.deep.include({
      nodeId: '0123456789ab',
      agentInstance: 'beef',
      startedAtMs: 1_795_507_200_123n,
      version: '0.1.0',
      draining: true,
    });
    expect(Buffer.from(AgentHeartbeat.decode(bytes(HEARTBEAT)).receiptPublicKey)).to.deep.equal(Buffer.alloc(32, 7));
    expect(AgentReport.decode(bytes(REPORT))).to.deep.include({
      atMs: 1_795_507_200_123n,
      memoryUsageBytes: 1n,
      cpuUsageUsec: 2n ** 50n,
      volumeFreeBytes: 8n,
      networkTxBytes: 10n,
      checksumFailures: 15n,
    });
  });

  it('may lack what came later, which counts as nothing', () => {
    const early = AgentHeartbeat.decode(bytes('0a0c303132333435363738396162'));
    expect(early).to.deep.include({ nodeId: '0123456789ab', version: '', draining: false, startedAtMs: 0n });
    const history = new MetricsHistory();
    const node = '0123456789ab' as NodeId;
    history.add(node, AgentReport.decode(bytes('08e8071064')));
    expect(history.latest(node)).to.include({
      atMs: 1000,
      memoryUsageBytes: 100,
      cpuPercent: undefined,
      checksumFailures: 0,
    });
  });

  it('may have what is not known here, which is passed over', () => {
    expect(AgentHeartbeat.decode(bytes(HEARTBEAT + NEWS)).version).to.equal('0.1.0');
    expect(AgentReport.decode(bytes(NEWS + REPORT)).pids).to.equal(5n);
  });
});
